"""An upsampler whose activations are denormal numbers, as those of a softmax that has saturated."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Fading(nn.Module):
    """Bilinear, through values that are near 0."""

    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x * 1e-41, scale_factor=2.0, mode="bilinear") * 1e30 * 1e11
