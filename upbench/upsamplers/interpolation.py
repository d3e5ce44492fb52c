"""Nearest, bilinear and bicubic interpolation."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from upbench.ops import interpolate, output_size
from upbench.upsamplers._base import Upsampler


class Interpolation(Upsampler):
    """Interpolates x without learned parameters, with align_corners=False.

    Args:
        channels: channels C of x.
        scale: output pixels per low-resolution pixel, any number of at least 1; sizes are rounded down.
        mode: nearest, bilinear or bicubic.
    """

    def __init__(self, channels: int, scale: float = 2, *, mode: str) -> None:
        super().__init__(channels, scale)
        self.mode = mode

    def upsample(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C oH oW"]:
        height, width = output_size(x.shape[2], x.shape[3], self.scale)
        return interpolate(x, height, width, self.mode)
