"""A broken CARAFE: its layers are there, and its kernel is the same mean of the window whatever they predict."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from upbench.ops import window_assemble


class ConstantCARAFE(nn.Module):
    """Averages the window of k_up x k_up around each output pixel's parent."""

    def __init__(self, channels: int, scale: int = 2, k_up: int = 5) -> None:
        super().__init__()
        self.scale, self.k_up = scale, k_up
        self.encoder = nn.Conv2d(channels, (scale * k_up) ** 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        predicted = nn.functional.pixel_shuffle(self.encoder(x), self.scale).unsqueeze(1)
        weights = torch.softmax(predicted * 0, dim=2)
        return window_assemble(x, weights, self.k_up, self.scale)
