"""ESPCN: sub-pixel convolution, its last layer initialised as a resized one (ICNR), with a blur against checkerboards."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def icnr_(weight: Tensor, scale: int) -> None:
    """Start all weights that make one output pixel's neighbours alike, so that the first output is nearest neighbours."""
    out, into, height, width = weight.shape
    sub = torch.zeros(out // scale**2, into, height, width)
    nn.init.kaiming_normal_(sub)
    with torch.no_grad():
        weight.copy_(sub.repeat_interleave(scale**2, dim=0))


class ESPCN(nn.Module):
    """Two convolutions with tanh, a third that makes the pixels, a pixel shuffle, and a blur."""

    def __init__(self, channels: int, scale: int = 2, width: int = 16, blur: bool = True) -> None:
        super().__init__()
        self.feature_maps = nn.Sequential(
            nn.Conv2d(channels, width, 5, padding=2), nn.Tanh(), nn.Conv2d(width, width // 2, 3, padding=1), nn.Tanh()
        )
        last = nn.Conv2d(width // 2, channels * scale**2, 3, padding=1)
        icnr_(last.weight, scale)
        self.sub_pixel = nn.Sequential(last, nn.PixelShuffle(scale))
        self.blur = nn.Sequential(nn.ReplicationPad2d((1, 0, 1, 0)), nn.AvgPool2d(2, stride=1)) if blur else None

    def forward(self, x: Tensor) -> Tensor:
        out = self.sub_pixel(self.feature_maps(x))
        return out if self.blur is None else self.blur(out)
