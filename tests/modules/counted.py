"""Modules as users write them, which counters see in different ways: one for each spelling that they tell apart."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Unfolded(nn.Module):
    """CARAFE-like: unfold, and the product written as torch.matmul."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.encode = nn.Conv2d(channels, 4 * 9, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        weights = F.softmax(F.pixel_shuffle(self.encode(x), 2), dim=1)
        cells = F.unfold(x, 3, padding=1).view(b, c * 9, h, w)
        windows = F.interpolate(cells, scale_factor=2, mode="nearest").view(b, c, 9, 2 * h, 2 * w)
        rows = windows.permute(0, 3, 4, 1, 2)
        return torch.matmul(rows, weights.permute(0, 2, 3, 1)[..., None]).squeeze(-1).permute(0, 3, 1, 2)


class Summed(Unfolded):
    """The same, written as an einsum over a list, and its weights scaled by torch.mul."""

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        weights = torch.mul(F.softmax(F.pixel_shuffle(self.encode(x), 2), dim=1), 1.0)
        cells = F.interpolate(F.unfold(x, 3, padding=1).view(b, c * 9, h, w), size=(2 * h, 2 * w))
        return torch.einsum("bcthw,bthw->bchw", [cells.view(b, c, 9, 2 * h, 2 * w), weights])


class Moved(nn.Module):
    """DySample-like: grid_sample at predicted points, groups folded into the batch."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.offset = nn.Conv2d(channels, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, _c, h, w = x.shape
        theta = torch.eye(2, 3, dtype=x.dtype).expand(b, 2, 3)
        grid = F.affine_grid(theta, [b, 1, 2 * h, 2 * w], align_corners=False)
        moved = grid + 0.1 * F.pixel_shuffle(self.offset(x), 2).permute(0, 2, 3, 1)
        return F.grid_sample(x, moved, padding_mode="border", align_corners=False)


class Fixed(nn.Sequential):
    """nn.Upsample and a convolution, with norms and activations of every kind, and a layer that is used twice."""

    def __init__(self, channels: int = 8) -> None:
        act = nn.ReLU()
        super().__init__(
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            act,
            nn.GroupNorm(2, channels),
            nn.GELU(),
            nn.AvgPool2d(3, 1, 1),
            nn.Sequential(act, nn.PReLU()),
        )


class Learned(nn.Sequential):
    """A transposed convolution, pixel shuffle, and a convolution of a class of the user's own."""

    class Own(nn.Conv2d):
        """A convolution that counters by exact class do not know."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__(
            nn.ConvTranspose2d(channels, channels, 4, 2, 1),
            nn.Conv2d(channels, 4 * channels, 1),
            nn.PixelShuffle(2),
            self.Own(channels, channels, 3, padding=1, groups=2),
            nn.MaxPool2d(2),
        )


class Functional(nn.Module):
    """A convolution by its weights, a linear layer over channels last, a layer norm, and pooling by function."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, channels, 3, 3))
        self.mix = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        high = F.conv2d(F.interpolate(x, scale_factor=2.0, mode="bicubic"), self.weight, padding=1)
        gate = torch.sigmoid(F.adaptive_avg_pool2d(x, 1))
        mixed = self.norm(self.mix(high.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return mixed * gate + high.mul(2.0)


MODULES = (Unfolded, Summed, Moved, Fixed, Learned, Functional)
