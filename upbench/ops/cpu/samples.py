"""One bilinear sample for each output pixel and group of channels on the CPU, by a C kernel (`csrc/samples.h`).

The kernel reads rows of channels. A map in planes is turned into them some channels at a time, in one small piece of memory.
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor

from upbench.ops import thresholds
from upbench.ops.cpu import native, structs, window_kernels
from upbench.ops.memory_layout import empty_map
from upbench.ops.registration import coordinate_dtype

PIECE = 32
"""Tiles of the kernel, one vector of output pixels each, that a thread takes at a time."""
SLICE = 2**21
"""Bytes of a map that are turned into rows at once: what is read four times stays in the caches."""
NARROW = 32
"""Channels of the narrowest slice."""

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
    turns = window_kernels.can_turn(x)
    width = _slice(x, c // groups) if turns else c
    rows = x.new_empty((1, h * w, width)) if turns else window_kernels.map_rows(x).flatten(1, 2)
    job = Samples(
        height=h,
        width=w,
        pixels=out_h * out_w,
        channels=width,
        groups=math.ceil(width * groups / c),
        x_pitch=rows.stride(1),
        out_pitch=c,
        step=planes.stride(2),
        dtype=window_kernels.DTYPES.index(x.dtype),
    )
    aligned = width % 16 == 0 and c // groups % 16 == 0 and target.data_ptr() % 16 == 0
    job.streams = aligned and out.nbytes >= thresholds.scaled(native.STREAMED)
    tiles = math.ceil(out_h * out_w / native.LANES)
    for image in range(b):
        for first in range(0, c, width):
            if turns:
                window_kernels.planes_to_rows(x[image : image + 1, first : first + width], rows.view(1, h, w, width))
            group = first * groups // c
            maps = {
                "x": rows[0 if turns else image],
                "columns": planes[image, 0, group:],
                "rows": planes[image, 1, group:],
                "out": target[image, :, :, first:],
            }
            window_kernels.run(
                "sample",
                job,
                {name: part.unsqueeze(0) for name, part in maps.items()},
                1,
                tiles,
                4 * width * out_h * out_w,
                PIECE,
            )
    return out


def _slice(x: Tensor, each: int) -> int:
    """Channels of a slice: all, or parts of a group of `each` channels that are whole vectors."""
    plane = x.shape[2] * x.shape[3] * x.element_size()
    widths = [x.shape[1], *(width for width in (4 * NARROW, 2 * NARROW, NARROW) if each % width == 0)]
    return next((width for width in widths if width * plane <= thresholds.scaled(SLICE)), widths[-1])
