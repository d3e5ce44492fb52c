"""Gradients of sums over points by the C kernel (`csrc/slopes.h`): of a map, and of weights and positions."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from upbench.ops.cpu import native, structs
from upbench.ops.cpu.rows import even_pixels, point_rows, tap_rows
from upbench.ops.memory_layout import empty_map, empty_points, empty_taps
from upbench.ops.registration import coordinate_dtype

WIDEST = 8 * native.LANES
"""Most channels that the kernel takes at once."""

_SIZES = ("height", "width", "out_height", "out_width", "channels", "groups", "taps", "heads", "blocks", "slice")
Slopes = structs.struct(
    "Slopes",
    **dict.fromkeys(
        ("source", "x", "weights", "columns", "rows", "map", "dots", "to_columns", "to_rows"), structs.ADDRESS
    ),
    **dict.fromkeys((*_SIZES, "source_step", "source_pitch", "border", "wide"), structs.COUNT),
)


def can_run() -> bool:
    """Return whether the kernel is there; it takes every dtype of the fused ops."""
    return native.has("slopes")


def scatter(source: Tensor, weight: Tensor | None, points: Tensor, padding: str, height: int, width: int) -> Tensor:
    """Compute `points.deform_scatter`, with its arguments."""
    job = _Job(source, weight, points, padding, height, width)
    b, c = source.shape[:2]
    out = empty_map(job.source, b, c, height, width)
    weighed = math.prod(points.shape[2:5]) * c
    for image in range(b):
        struct = job.struct(image)
        struct.map = native.address(out, image)
        native.run_tiles("slopes", struct, c // struct.slice, weighed, 1)
    return out.to(source.dtype)


def slopes(source: Tensor, x: Tensor, weight: Tensor | None, points: Tensor, padding: str) -> tuple[Tensor, Tensor]:
    """Compute `points.deform_slope`, with its arguments."""
    job = _Job(source, weight, points, padding, x.shape[2], x.shape[3])
    taps, out_h, out_w = points.shape[2:5]
    dots = empty_taps(job.source, source.shape[0], job.heads, taps, out_h, out_w)
    moves = empty_points(points.to(job.source.dtype))
    axes = moves.permute(5, 0, 3, 4, 1, 2)
    for image in range(source.shape[0]):
        struct = job.struct(image)
        packed = _packed(x[image], struct.slice, job.source.dtype)
        struct.x, struct.dots = packed.data_ptr(), native.address(dots.permute(0, 3, 4, 1, 2), image)
        struct.to_columns, struct.to_rows = (native.address(axis, image) for axis in axes)
        native.run_tiles("slopes", struct, native.tiles(out_h, out_w), taps * out_h * out_w * x.shape[1])
    return dots.to(source.dtype), moves.to(points.dtype)


class _Job:
    """What both take: the source in the dtype that is computed in, points and weights as rows."""

    def __init__(
        self, source: Tensor, weight: Tensor | None, points: Tensor, padding: str, height: int, width: int
    ) -> None:
        dtype = coordinate_dtype(source.dtype)
        self.heads = 1 if weight is None else weight.shape[1]
        self.source = even_pixels(source).to(dtype)
        self.where = point_rows(points.to(dtype))
        channels, (groups, taps, out_h, out_w) = source.shape[1], points.shape[1:5]
        rows = (source.shape[0], out_h * out_w * self.heads)
        self.weights = None if weight is None else tap_rows(weight, dtype).unflatten(0, rows)
        blocks = math.lcm(groups, self.heads)
        sizes = (height, width, out_h, out_w, channels, groups, taps, self.heads, blocks, _slice(channels // blocks))
        self.sizes = dict(zip(_SIZES, sizes, strict=True))
        self.border = padding == "border"

    def struct(self, image: int) -> Any:
        """Return what the kernel takes for one image, but for what it writes."""
        columns, rows = (native.address(axis, image) for axis in self.where)
        return Slopes(
            **self.sizes,
            source=native.address(self.source, image),
            weights=native.address(self.weights, image),
            columns=columns,
            rows=rows,
            source_step=self.source.stride(1),
            source_pitch=self.source.stride(3),
            border=self.border,
            wide=self.source.dtype == torch.float64,
        )


def _slice(channels: int) -> int:
    """The channels of a block that are taken at once: as many of them as WIDEST allows, all slices alike."""
    return next(n for n in range(min(WIDEST, channels), 0, -1) if channels % n == 0)


def _packed(x: Tensor, slice_: int, dtype: torch.dtype) -> Tensor:
    """[C, H, W] -> [C / slice, H * W + 1, slice], zeros in the last row."""
    c, h, w = x.shape
    out = x.new_empty((c // slice_, h * w + 1, slice_), dtype=dtype)
    out[:, -1] = 0
    out[:, :-1].view(c // slice_, h, w, slice_).copy_(x.unflatten(0, (-1, slice_)).permute(0, 2, 3, 1))
    return out
