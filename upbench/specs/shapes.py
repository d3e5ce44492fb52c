"""Feature shapes: those with a name, and how they are written."""

from __future__ import annotations

import re
from dataclasses import dataclass

from upbench.errors import UpbenchError, suggestion

Shape = tuple[int, int, int]
"""Channels, height and width of the low-resolution feature."""
Size = tuple[int, int]
"""Rows and columns."""


@dataclass(frozen=True)
class NamedShape:
    """A shape with a name.

    Args:
        shape: Channels, height and width of the low-resolution feature.
        where: Where the shape occurs.
        image: Rows and columns of the image that the feature was made of; None where that is not one size.
        output: Rows and columns to which it is enlarged there; None where that is not one size.
        guide_channels: Channels of a hidden state that goes with it.
    """

    shape: Shape
    where: str
    image: Size | None = None
    output: Size | None = None
    guide_channels: int | None = None


def _foundation(channels: int, side: int, image: int, where: str) -> NamedShape:
    """Features of a foundation model, to the resolution of its image."""
    return NamedShape((channels, side, side), where, (image, image), (image, image))


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
    "vit-s14-224": _foundation(384, 16, 224, "ViT-S/14 (DINOv2) of a 224x224 image, to 224x224"),
    "vit-s16-224": _foundation(384, 14, 224, "ViT-S/16 (DINOv3) of a 224x224 image, to 224x224"),
    "vit-b14-448": _foundation(768, 32, 448, "ViT-B/14 (DINOv2) of a 448x448 image, to 448x448"),
    "vit-b16-448": _foundation(768, 28, 448, "ViT-B/16 (DINOv3) of a 448x448 image, to 448x448"),
    "sam": NamedShape((256, 64, 64), "mask decoder of SAM and SAM 2, stride 16 to 4", (1024, 1024), (256, 256)),
    "raft": NamedShape(
        (2, 55, 128), "flow of RAFT on Sintel (436x1024), stride 8 to 1", (440, 1024), (440, 1024), guide_channels=128
    ),
}
"""Name -> shape."""

CHANNELS = (64, 96, 128, 160, 192, 256, 320, 384, 512, 640, 768, 960, 1024, 1280, 2048)
"""Numbers of channels that features usually have."""
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
        numbers = re.split(r"[\sxX,;*\N{MULTIPLICATION SIGN}]+", value.strip())
        if len(numbers) == 3 and all(number.isdigit() for number in numbers):
            raise UpbenchError(f"shape {value!r} is not {FORM}; write {'x'.join(numbers)}")
        hint = _hint(value) if value[:1].isdigit() else suggestion(value, NAMED)
        raise UpbenchError(f"shape {value!r} is not {FORM}: {', '.join(NAMED)}{hint}")
    if isinstance(value, list | tuple) and len(value) == 3 and all(type(n) is int for n in value):
        return _positive(value, (value[0], value[1], value[2]))
    raise UpbenchError(f"shape {value!r} is not {FORM}: {', '.join(NAMED)}")


def _hint(value: str) -> str:
    """Return what was meant by two or four numbers, as "; the batch is an option of its own: ..."."""
    numbers = value.lower().replace(" ", "").split("x")
    if len(numbers) == 4 and all(number.isdigit() for number in numbers):
        return f"; the batch is an option of its own: shape {'x'.join(numbers[1:])}, batch {numbers[0]}"
    if len(numbers) == 2 and all(number.isdigit() for number in numbers):
        return f"; the channels come first, as 256x{value}"
    return ""


def doubt(value: str) -> str | None:
    """Return a question where a shape has its channels at its end, as 60x60x256; None for other shapes."""
    match = re.fullmatch(r"(\d+)x(\d+)x(\d+)", value.lower())
    channels, height, width = map(int, match.groups()) if match else (0, 0, 0)
    if not 0 < channels == height < width or width not in CHANNELS:
        return None
    return f"shape {value}: {channels} channels of a {height}x{width} map; channels come first: {width}x{channels}x{height}?"


def size(value: object) -> Size:
    """Height and width from 'HxW' or a list of two integers. Raises UpbenchError with what is allowed."""
    numbers: list[object] = list(value) if isinstance(value, list | tuple) else []
    if isinstance(value, str) and (match := re.fullmatch(r"\s*(\d+)\s*[xX]\s*(\d+)\s*", value)):
        numbers = [int(match[1]), int(match[2])]
    if len(numbers) != 2 or not all(type(n) is int for n in numbers):
        raise UpbenchError(f"size {value!r} is not HxW (224x224)")
    height, width = (n for n in numbers if isinstance(n, int))
    if min(height, width) < 1:
        raise UpbenchError(f"size {value!r} has a zero; height and width are at least 1")
    return height, width


def _positive(value: object, shape: Shape) -> Shape:
    if min(shape) < 1:
        raise UpbenchError(f"shape {value!r} has a zero; channels, height and width are at least 1")
    return shape


def text(shape: tuple[int, ...]) -> str:
    """Return a shape as '256x120x120'."""
    return "x".join(str(n) for n in shape)
