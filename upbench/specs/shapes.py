"""Feature shapes: those with a name, and how they are written."""

from __future__ import annotations

import re
from dataclasses import dataclass

from upbench.errors import UpbenchError, suggestion

Shape = tuple[int, int, int]
"""Channels, height and width of the low-resolution feature."""


@dataclass(frozen=True)
class NamedShape:
    """A shape with a name.

    Args:
        shape: Channels, height and width of the low-resolution feature.
        where: Where the shape occurs.
    """

    shape: Shape
    where: str


NAMED = {
    "paper": NamedShape((256, 120, 120), "latency figures of the papers (DySample Fig. 8, SAPA Fig. 12)"),
    "fpn-p6": NamedShape((256, 20, 13), "FPN of a 1280x800 detector, stride 64 to 32"),
    "fpn-p5": NamedShape((256, 40, 25), "FPN of a 1280x800 detector, stride 32 to 16"),
    "fpn-p4": NamedShape((256, 80, 50), "FPN of a 1280x800 detector, stride 16 to 8"),
    "fpn-p3": NamedShape((256, 160, 100), "FPN of a 1280x800 detector, stride 8 to 4"),
    "mask-head": NamedShape((256, 14, 14), "mask head of Mask R-CNN, one region"),
    "segformer-c4": NamedShape((256, 16, 16), "SegFormer head at 512x512, stride 32 to 16"),
    "segformer-c3": NamedShape((256, 32, 32), "SegFormer head at 512x512, stride 16 to 8"),
    "segformer-c2": NamedShape((256, 64, 64), "SegFormer head at 512x512, stride 8 to 4"),
}
"""Name -> shape."""

FORM = "CxHxW (256x120x120) or a named shape"
"""The form of a shape, for messages."""


def parse(value: object) -> Shape:
    """Read a shape.

    Args:
        value: 'CxHxW', a name, or a list of three integers.

    Raises:
        UpbenchError: With what is allowed, if it is none of these, or a number is 0.
    """
    if isinstance(value, str):
        if value in NAMED:
            return NAMED[value].shape
        if match := re.fullmatch(r"\s*(\d+)\s*[xX]\s*(\d+)\s*[xX]\s*(\d+)\s*", value):
            return _positive(value, (int(match[1]), int(match[2]), int(match[3])))
        hint = "" if value[:1].isdigit() else suggestion(value, NAMED)
        raise UpbenchError(f"shape {value!r} is not {FORM}: {', '.join(NAMED)}{hint}")
    if isinstance(value, list | tuple) and len(value) == 3 and all(type(n) is int for n in value):
        return _positive(value, (value[0], value[1], value[2]))
    raise UpbenchError(f"shape {value!r} is not {FORM}: {', '.join(NAMED)}")


def _positive(value: object, shape: Shape) -> Shape:
    if min(shape) < 1:
        raise UpbenchError(f"shape {value!r} has a zero; channels, height and width are at least 1")
    return shape


def text(shape: tuple[int, ...]) -> str:
    """Return a shape as '256x120x120'."""
    return "x".join(str(n) for n in shape)
