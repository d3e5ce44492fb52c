"""Upsampling by nearest neighbours and a convolution that is told where it is (CoordConv)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AddCoords(nn.Module):
    """Joins the pixels' places in [-1, 1], and with `radius` their distance from the centre, to the channels."""

    def __init__(self, radius: bool) -> None:
        super().__init__()
        self.radius = radius

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.size()
        rows = torch.arange(h, device=x.device, dtype=x.dtype).view(1, 1, h, 1).repeat(n, 1, 1, w)
        columns = torch.arange(w, device=x.device, dtype=x.dtype).view(1, 1, 1, w).repeat(n, 1, h, 1)
        rows = rows / (h - 1) * 2 - 1
        columns = columns / (w - 1) * 2 - 1
        parts = [x, rows, columns]
        if self.radius:
            parts.append(torch.sqrt(torch.pow(rows, 2) + torch.pow(columns, 2)))
        return torch.cat(parts, dim=1)


class CoordConvUp(nn.Module):
    """Enlarge, add coordinates, convolve."""

    def __init__(self, channels: int, scale: int = 2, kernel: int = 3, radius: bool = True) -> None:
        super().__init__()
        self.enlarge = nn.Upsample(scale_factor=scale)
        self.add_coords = AddCoords(radius)
        self.conv = nn.Conv2d(channels + 2 + radius, channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.add_coords(self.enlarge(x)))
