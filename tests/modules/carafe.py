"""CARAFE in the form in which it is put into YOLO models: a block `Conv`, unfold on the enlarged map, and an einsum."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Conv(nn.Module):
    """Convolution, batch norm and SiLU, as YOLO models have it."""

    def __init__(self, into: int, out: int, k: int = 1, act: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(into, out, k, padding=k // 2, bias=False)
        self.bn = nn.BatchNorm2d(out)
        self.act = nn.SiLU() if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


class CARAFE(nn.Module):
    """Content-aware reassembly: kernels are predicted for each output pixel, and weigh a window of the input."""

    def __init__(self, channels: int, scale: int = 2, k_enc: int = 3, k_up: int = 5, c_mid: int = 64) -> None:
        super().__init__()
        self.scale = scale
        self.comp = Conv(channels, c_mid)
        self.enc = Conv(c_mid, (scale * k_up) ** 2, k=k_enc, act=False)
        self.pix_shf = nn.PixelShuffle(scale)
        self.upsmp = nn.Upsample(scale_factor=scale, mode="nearest")
        self.unfold = nn.Unfold(kernel_size=k_up, dilation=scale, padding=k_up // 2 * scale)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.size()
        high = h * self.scale, w * self.scale
        weights = torch.softmax(self.pix_shf(self.enc(self.comp(x))), dim=1)
        windows = self.unfold(self.upsmp(x)).view(b, c, -1, *high)
        return torch.einsum("bkhw,bckhw->bchw", [weights, windows])
