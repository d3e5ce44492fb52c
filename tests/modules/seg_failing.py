"""Upsamplers that fail in training, or whose loss runs away."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Failing(nn.Module):
    """Raises whenever it is called."""

    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("no memory of how to upsample")


class Diverging(nn.Module):
    """Makes numbers that are none."""

    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2.0) * float("nan")
