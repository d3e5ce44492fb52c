"""Positions written into a map on the CPU, without the angles of all pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from upbench.ops import thresholds
from upbench.ops.memory_layout import on_huge_pages
from upbench.ops.registration import numel, register

VALUES = 2**18
"""Values of one map that are worked on at once: what is made of them stays in a processor's own cache."""


def _macs(shapes: Sequence[Sequence[int]], args: Sequence[Any]) -> dict[str, int]:
    """MACs of what it stands for, from the shapes of x, position, freqs and output."""
    values, angles = numel(shapes[0]), numel(shapes[2][1:]) * numel(shapes[1][1:])
    turned = {"aten::neg": values // 2, "aten::mul": 2 * values, "aten::add": values}
    return {"aten::linear": 2 * angles, "aten::cos": angles, "aten::sin": angles, **turned}


@register(
    "plane_rope_fused(Tensor x, Tensor position, Tensor freqs) -> Tensor",
    kind="elementwise",
    macs=lambda shapes, args: sum(_macs(shapes, args).values()),
    shares=_macs,
)
def _plane_rope(x: Tensor, position: Tensor, freqs: Tensor) -> Tensor:
    dtype, half = position.dtype, x.shape[1] // 2
    by_row = freqs[0].to(dtype)[:, None, None] * position[0, :, :1]
    by_column = freqs[1].to(dtype)[:, None, None] * position[1, :1]
    rows, columns = (by_row.cos(), by_row.sin()), (by_column.cos(), by_column.sin())
    out = on_huge_pages(torch.empty(x.shape, dtype=x.dtype))
    step = max(thresholds.scaled(VALUES) // numel(x.shape[2:]), 1)
    for image in range(x.shape[0]):
        for start in range(0, half, step):
            first = slice(start, min(start + step, half))
            second = slice(first.start + half, first.stop + half)
            left, right = x[image, first].to(dtype), x[image, second].to(dtype)
            cos, sin = _sum_of_angles(rows, columns, first)
            out[image, first] = (left * cos).sub_(sin.mul_(right))
            cos, sin = _sum_of_angles(rows, columns, second)
            out[image, second] = cos.mul_(right).add_(sin.mul_(left))
    return out


def _sum_of_angles(
    rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor], channels: slice
) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the sums of the angles of rows and columns, of which both are known."""
    (row_cos, row_sin), (column_cos, column_sin) = ([t[channels] for t in side] for side in (rows, columns))
    cos = (row_cos * column_cos).addcmul_(row_sin, column_sin, value=-1)
    return cos, (row_sin * column_cos).addcmul_(row_cos, column_sin)


def plane_rope(
    x: Float[Tensor, "B C H W"], position: Float[Tensor, "2 H W"], freqs: Float[Tensor, "2 C"]
) -> Float[Tensor, "B C H W"]:
    """Compute `ops.plane_rope` of a few channels at a time.

    Args:
        x: the map.
        position: row and column of every pixel.
        freqs: of each channel the radians by row and by column.
    """
    return _plane_rope(x, position, freqs)
