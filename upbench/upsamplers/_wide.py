"""Upsamplers made of torch's own layers, in half precision on a CPU that has no fast products of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from upbench.ops import in_dtype, slow_layers
from upbench.upsamplers._base import Upsampler


class _Within(nn.Module):
    """What an upsampler does once its maps were checked, as a module that holds it."""

    def __init__(self, held: WideUpsampler) -> None:
        super().__init__()
        self.held = held

    def forward(self, maps: tuple[Tensor, ...], size: tuple[int, int]) -> Any:
        return Upsampler._run(self.held, maps, size)


class WideUpsampler(Upsampler):
    """An upsampler that goes in float32, and is rounded in the end, where torch multiplies its dtype 5 to 100 times as slowly.

    The backend "eager" leaves it to torch.
    """

    def _run(self, maps: tuple[Tensor, ...], size: tuple[int, int]) -> Any:
        if self.backend == "eager" or not slow_layers(self, *maps):
            return super()._run(maps, size)
        found = in_dtype(_Within(self), torch.float32)(tuple(t.float() for t in maps), size)
        return found.to(maps[0].dtype)
