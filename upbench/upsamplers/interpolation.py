"""Nearest, bilinear and bicubic interpolation."""

from __future__ import annotations

from torch import Tensor

from upbench.ops import interpolate, output_size
from upbench.upsamplers._base import Upsampler


class Interpolation(Upsampler):
    """Parameter-free interpolation. x: [B, C, H, W] -> [B, C, floor(H*scale), floor(W*scale)].

    mode: nearest, bilinear or bicubic, with align_corners=False. Any scale of at least 1.
    """

    def __init__(self, channels: int, scale: float = 2, *, mode: str) -> None:
        super().__init__()
        self.channels, self.scale, self.mode = channels, scale, mode

    def upsample(self, x: Tensor) -> Tensor:
        height, width = output_size(x.shape[2], x.shape[3], self.scale)
        return interpolate(x, height, width, self.mode)
