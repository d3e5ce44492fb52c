"""Data-dependent upsampling (DUpsampling): a matrix makes all output pixels of an input pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DUpsampling(nn.Module):
    """The matrix is a parameter and is applied as `pixels @ self.weight`; a learned temperature divides the result."""

    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(channels, scale**2 * channels))
        self.temperature = nn.Parameter(torch.ones(1))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        pixels = x.permute(0, 3, 2, 1).reshape(n, w, h, c) @ self.weight
        pixels = pixels.view(n, w, h * self.scale, c * self.scale).permute(0, 2, 1, 3)
        pixels = pixels.reshape(n, h * self.scale, w * self.scale, c).permute(0, 3, 1, 2)
        return pixels / self.temperature
