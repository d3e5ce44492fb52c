"""What a card's rules and closed forms are functions of: an upsampler's values, and the sizes of what it gets."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """The configuration of one upsampler that rules and closed forms are evaluated on.

    Args:
        channels: channels of the low-resolution map.
        guide_channels: channels of the guides, whose shapes are `Card.guide_shapes`.
        scale: output pixels per low-resolution pixel.
        params: the value of every parameter by name.
        batch: images.
        height: rows of the low-resolution map.
        width: columns of the low-resolution map.
        output: rows and columns of the output where they are not those of the low-resolution map times the scale.
        image: rows and columns of the image, for methods that one guides; None is the output's.
    """

    channels: int
    guide_channels: int
    scale: float
    params: Mapping[str, Any]
    batch: int = 1
    height: int = 1
    width: int = 1
    output: tuple[int, int] | None = None
    image: tuple[int, int] | None = None

    def __getitem__(self, name: str) -> Any:
        return self.params[name]

    @property
    def out_height(self) -> int:
        """Rows of the output."""
        return math.floor(self.height * self.scale) if self.output is None else self.output[0]

    @property
    def out_width(self) -> int:
        """Columns of the output."""
        return math.floor(self.width * self.scale) if self.output is None else self.output[1]

    @property
    def low(self) -> int:
        """Low-resolution pixels of the whole batch."""
        return self.batch * self.height * self.width

    @property
    def high(self) -> int:
        """High-resolution pixels of the whole batch."""
        return self.batch * self.out_height * self.out_width

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the image that guides, unless the method wants another."""
        return self.image or (self.out_height, self.out_width)

    @property
    def pixels(self) -> int:
        """Image pixels of the whole batch."""
        return self.batch * math.prod(self.image_size)


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of one call.

    Args:
        conv: those of convolutions and linear layers.
        gather: those of sampling (4 per value), similarity and assembly.
    """

    conv: int = 0
    gather: int = 0


@dataclass(frozen=True)
class Guide:
    """One further input of an upsampler.

    Args:
        kind: "feature" (an encoder's, at the output's size), "image", or "hidden" (a state at the size of x).
        channels: how many it has by default; None is as many as x.
        size: gives its height and width in a setting, where the kind does not say.
        any_size: whether any other size does as well.
    """

    kind: str = "feature"
    channels: int | None = None
    size: Callable[[Setting], tuple[int, int]] | None = None
    any_size: bool = False

    def size_in(self, setting: Setting) -> tuple[int, int]:
        """Its height and width."""
        if self.size is not None:
            return self.size(setting)
        if self.any_size:
            return setting.image_size
        return (setting.height, setting.width) if self.kind == "hidden" else (setting.out_height, setting.out_width)


FEATURE = (Guide(),)
IMAGE = (Guide("image", 3),)
ANY_IMAGE = (Guide("image", 3, any_size=True),)
HIDDEN = (Guide("hidden"),)
UPSAMPLED = ("upsampled",)
