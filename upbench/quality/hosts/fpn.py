"""A tiny feature pyramid: an encoder of three strides, laterals, two upsamplers, and a classifier at stride 2."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

POINTS = 2
"""How many upsamplers it has."""
GUIDE = "feature"
"""What guides the upsamplers that want a guide: the lateral that is added to their result."""
WIDTHS = (32, 32, 48)
"""Channels of the encoder at strides 2, 4 and 8."""
NORM_GROUPS = 8
STRIDE = 8
"""Sides of pictures are multiples of this."""


class FPN(nn.Module):
    """Segments pictures.

    Args:
        classes: How many classes there are.
        channels: Channels of the neck.
        upsamplers: Two of them, the one at the coarser level first, called as module(x) or module(x, guide).
        guided: Whether they take a guide.
    """

    def __init__(self, classes: int, channels: int, upsamplers: tuple[nn.Module, ...], guided: bool) -> None:
        super().__init__()
        self.guided = guided
        inputs = (3, *WIDTHS)
        self.stages = nn.ModuleList(
            nn.Sequential(*_block(a, b, stride=2), *_block(b, b)) for a, b in zip(inputs, WIDTHS, strict=False)
        )
        self.laterals = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in WIDTHS)
        self.upsamplers = nn.ModuleList(upsamplers)
        self.head = nn.Sequential(*_block(channels, channels), nn.Conv2d(channels, classes, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, classes, H, W] of images [B, 3, H, W]."""
        x, levels = images, []
        for stage, lateral in zip(self.stages, self.laterals, strict=True):
            x = stage(x)
            levels.append(lateral(x))
        level = levels.pop()
        for upsampler in self.upsamplers:
            guide = levels.pop()
            up = upsampler(level, guide) if self.guided else upsampler(level)
            level = guide + up.contiguous()
        return F.interpolate(self.head(level), images.shape[2:], mode="bilinear", align_corners=False)


def _block(inputs: int, outputs: int, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return convolution, nn.GroupNorm(NORM_GROUPS, outputs), nn.ReLU(inplace=True)


def build(classes: int, channels: int, upsampler: Callable[[int], nn.Module], guided: bool) -> nn.Module:
    """Return the host.

    Args:
        classes: How many classes there are.
        channels: Channels of the neck, which those of the upsamplers and of their guides are.
        upsampler: Makes the upsampler of a place, 0 to POINTS - 1, without drawing from torch's generator.
        guided: Whether it takes a guide.
    """
    return FPN(classes, channels, tuple(upsampler(n) for n in range(POINTS)), guided)
