"""The values that a host model is made of: its stages and their sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import BeforeValidator, Field

from upbench.specs.strict import Strict

COUNT = "an integer of at least 1"
"""The rule for counts in a host file, in the words of its errors."""


class BaseFigure(Strict):
    """A count of the host with its own upsampling.

    Args:
        printed: The count as published.
        total: The published count as a number.
        counted: The count by us.
        how: What was counted.
    """

    printed: str | None = None
    total: int | None = Field(None, ge=1, description=COUNT)
    counted: int | None = Field(None, ge=1, description=COUNT)
    how: str | None = None

    @property
    def value(self) -> int | None:
        """Return the most exact figure there is; None where none is known."""
        return self.total if self.counted is None else self.counted


def _bare(value: object) -> object:
    return {"counted": value} if isinstance(value, int) and not isinstance(value, bool) else value


_Figure = Annotated[BaseFigure, BeforeValidator(_bare)]
_FIGURE = "a whole number, or a mapping with counted, printed, total, how"


class Base(Strict):
    """Parameters, and multiply-accumulates of one forward at the host's own input, of the whole host."""

    params: _Figure = Field(BaseFigure(), description=_FIGURE)
    flops: _Figure = Field(BaseFigure(), description=_FIGURE)


class HostInput(Strict):
    """The image of a host in pixels; both sides are padded to a multiple of `divisor` before the backbone sees them."""

    height: int = Field(ge=1, description=COUNT)
    width: int = Field(ge=1, description=COUNT)
    divisor: int = Field(1, ge=1, description=COUNT)
    note: str | None = None

    @property
    def padded(self) -> tuple[int, int]:
        """Return the height and the width that the backbone sees."""
        return (_up(self.height, self.divisor) * self.divisor, _up(self.width, self.divisor) * self.divisor)


class Stage(Strict):
    """One upsampling in a host.

    Args:
        name: The name of the stage.
        channels: The channels of x: [batch, channels, height, width].
        guide_channels: The channels of the guide: [batch, guide_channels, out_height, out_width].
        height: The height of x.
        width: The width of x.
        scale: The factor of upsampling.
        out_height: The height of the result.
        out_width: The width of the result.
        batch: The number of feature maps.
        stride: The stride of x to the image; None where the size does not depend on the image.
    """

    name: str
    channels: int
    guide_channels: int
    height: int
    width: int
    scale: int
    out_height: int
    out_width: int
    batch: int = 1
    stride: int | None = None


class Variant(Strict):
    """The same host built, fed or read in another way; `replaces` says what it has in place of the host's own part."""

    name: str
    base: Base
    input: HostInput | None
    stages: tuple[Stage, ...]
    lr_pixels: int
    fits: str | None = None
    replaces: str | None = None
    uncertain: bool = False
    why: str | None = None
    note: str | None = None


class Host(Strict):
    """A host model with its stages; `fits` says which published figures its sizes reproduce."""

    name: str
    title: str
    backbone: str | None
    task: str | None
    dataset: str | None
    base: Base
    input: HostInput | None
    stages: tuple[Stage, ...]
    lr_pixels: int
    fits: str | None
    notes: tuple[str, ...]
    variants: dict[str, Variant]


def resized(stage: Stage, size: HostInput) -> Stage:
    """Return a stage at another input size; the stage itself where its size does not depend on the image."""
    if stage.stride is None:
        return stage
    height, width = (_up(n, stage.stride) for n in size.padded)
    out_height, out_width = (_up(n * stage.scale, stage.stride) for n in size.padded)
    change = {"height": height, "width": width, "out_height": out_height, "out_width": out_width}
    return stage.model_copy(update=change)


def low_pixels(stages: Sequence[Stage]) -> int:
    """Return the number of low-resolution pixels of all stages together."""
    return sum(stage.batch * stage.height * stage.width for stage in stages)


def _up(number: int, divisor: int) -> int:
    return -(-number // divisor)
