"""Guided upsampling module: a guidance map of offsets moves the points at which the features are sampled."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GUM(nn.Module):
    """Offsets come from the high-resolution guide and are added to a regular grid, in units of its [-1, 1]."""

    guided = True

    def __init__(self, channels: int, guide_channels: int, scale: int = 2, width: int = 8) -> None:
        super().__init__()
        self.guidance = nn.Sequential(
            nn.Conv2d(guide_channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 2, 1),
        )

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        n, _, h, w = guide.shape
        theta = torch.eye(2, 3, device=x.device, dtype=x.dtype).repeat(n, 1, 1)
        grid = F.affine_grid(theta, [n, 1, h, w], align_corners=True)
        offsets = torch.tanh(self.guidance(guide)).permute(0, 2, 3, 1)
        return F.grid_sample(x, grid + offsets, mode="bilinear", padding_mode="border", align_corners=True)
