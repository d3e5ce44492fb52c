"""One bilinear sample for each output pixel and group of channels on the CPU, by a C kernel (`csrc/samples.h`).

The kernel reads rows of channels. A map in planes is turned into them some channels at a time, in one small piece of memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from upbench.ops import thresholds
from upbench.ops.cpu import native, structs, window_kernels
from upbench.ops.memory_layout import empty_map
from upbench.ops.registration import coordinate_dtype

PIECE = 32
"""Tiles of the kernel, one vector of output pixels each, that a thread takes at a time."""
SLICE = 2**22
"""Bytes of a map that are turned into rows at once: what is read four times stays in the caches."""
WIDTHS = (128, 64, 32)
"""Channels of slices: written past the caches, fewer together take longer."""

Samples = structs.struct(
    "Samples",
    **dict.fromkeys(("x", "columns", "rows", "out"), structs.ADDRESS),
    **dict.fromkeys(("height", "width", "pixels", "channels", "groups"), structs.COUNT),
    **dict.fromkeys(("x_pitch", "out_pitch", "step", "streams", "dtype"), structs.COUNT),
)


def can_run(x: Tensor, points: Tensor, padding: str) -> bool:
    """Return whether the kernel takes these: one point for each group, clamped onto the map.

    Args:
        x, points, padding: as `sample` takes them, and what is read outside the map.
    """
    return padding == "border" and points.shape[2] == 1 and window_kernels.can_run_native(x)


def sample(x: Float[Tensor, "B C H W"], points: Float[Tensor, "B G 1 oH oW 2"]) -> Float[Tensor, "B C oH oW"]:
    """Compute `points.deform_assemble` of one point without weights.

    Args:
        x: the low-resolution map.
        points: a position (x, y) for each of G groups of channels, in low-resolution pixels; G divides C. Positions outside the
            map are clamped onto it.
    """
    (b, c, h, w), (groups, _, out_h, out_w) = x.shape, points.shape[1:5]
    planes = points.squeeze(2).permute(0, 4, 1, 2, 3).to(coordinate_dtype(x.dtype)).flatten(3)
    planes = planes if planes.stride(3) == 1 or planes.shape[3] == 1 else planes.contiguous()
    out = empty_map(x, b, c, out_h, out_w)
    target = out.permute(0, 2, 3, 1)
    job = Samples(
        height=h,
        width=w,
        pixels=out_h * out_w,
        out_pitch=c,
        step=planes.stride(2),
        dtype=window_kernels.DTYPES.index(x.dtype),
    )
    tiles = math.ceil(out_h * out_w / native.LANES)
    for part in slices(x, groups):
        image, first, group = part.image, part.first, part.first * groups // c
        job.channels, job.groups, job.x_pitch = part.width, part.groups, part.rows.stride(0)
        job.streams = streams(out, part.width, c // groups)
        maps = {
            "x": part.rows,
            "columns": planes[image, 0, group:],
            "rows": planes[image, 1, group:],
            "out": target[image, :, :, first:],
        }
        given: dict[str, Tensor | None] = {name: t.unsqueeze(0) for name, t in maps.items()}
        window_kernels.run("sample", job, given, 1, tiles, 4 * part.width * out_h * out_w, PIECE)
    return out


@dataclass(frozen=True)
class Slice:
    """Some channels of an image as rows.

    Args:
        image: which one.
        first: the first of the channels.
        groups: groups of channels with positions each that they are of, one where they are part of one.
        rows: [H * W, width].
    """

    image: int
    first: int
    groups: int
    rows: Tensor

    @property
    def width(self) -> int:
        """The number of channels."""
        return self.rows.shape[1]


def slices(x: Float[Tensor, "B C H W"], groups: int) -> Iterator[Slice]:
    """Give the channels of a map as rows, a slice at a time where it lies in planes: each is gone when the next is asked for.

    Args:
        x: the map.
        groups: groups of channels with positions each; divides C. A slice is part of one, or some of them.
    """
    b, c, h, w = x.shape
    if not window_kernels.can_turn(x):
        for image, rows in enumerate(window_kernels.map_rows(x).flatten(1, 2)):
            yield Slice(image, 0, groups, rows)
        return
    width = _width(x, c // groups)
    rows = x.new_empty((1, h, w, width))
    for image in range(b):
        for first in range(0, c, width):
            window_kernels.planes_to_rows(x[image : image + 1, first : first + width], rows)
            yield Slice(image, first, max(1, width * groups // c), rows.view(h * w, width))


def streams(out: Tensor, width: int, each: int) -> bool:
    """Return whether samples are written past the caches: whole lines of a large result.

    Args:
        out: the result, channels-last.
        width: channels of a slice.
        each: channels of a group.
    """
    aligned = width % 16 == 0 and each % 16 == 0 and out.data_ptr() % 16 == 0
    return aligned and out.nbytes >= thresholds.scaled(native.STREAMED)


def _width(x: Tensor, each: int) -> int:
    """Channels of a slice: all, or of the widths that are parts of a group of `each` channels, or whole groups, the widest in bounds."""
    channels, plane = x.shape[1], x.shape[2] * x.shape[3] * x.element_size()
    fits = [w for w in WIDTHS if channels % w == 0 and (each % w == 0 or w % each == 0)]
    widths = [channels, *fits]
    return next((width for width in widths if width * plane <= thresholds.scaled(SLICE)), widths[-1])
