"""Adaptively spatial feature fusion: it mixes the maps of several levels, and so is no upsampler of one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Weigh(nn.Module):
    """The weight of one level."""

    def __init__(self, channels: int, width: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(channels, width, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class ASFF(nn.Module):
    """The maps of all levels, enlarged to that of the first and weighed by a softmax over levels."""

    def __init__(self, channels: int, scale: int = 2, levels: int = 3) -> None:
        super().__init__()
        self.scale = scale
        self.weigh = nn.ModuleList(Weigh(channels) for _ in range(levels))
        self.mix = nn.Conv2d(4 * levels, levels, 1)
        self.expand = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        size = [x.shape[2] * self.scale, x.shape[3] * self.scale]
        maps = [F.interpolate(one, size=size) for one in (x, *others)]
        weights = self.mix(torch.cat([layer(one) for layer, one in zip(self.weigh, maps, strict=True)], 1)).softmax(1)
        fused = sum(one * weights[:, n : n + 1] for n, one in enumerate(maps))
        return self.expand(fused)
