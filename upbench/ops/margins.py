"""Margins that mirror a map: pixel n outside it stands for pixel n inside, the border itself not repeated."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from upbench.ops.memory_layout import empty_map


def mirror_(rows: Float[Tensor, "B oH oW C"], margin: int) -> None:
    """Fill the margins of a map that lies in the middle of `rows`, in place.

    Args:
        rows: the map with `margin` pixels around it, each side of the map itself longer than that.
        margin: pixels on every side.
    """
    for dim in (1, 2):
        last = rows.shape[dim] - margin - 1
        for n in range(1, margin + 1):
            rows.select(dim, margin - n).copy_(rows.select(dim, margin + n))
            rows.select(dim, last + n).copy_(rows.select(dim, last - n))


def fold(padded: Float[Tensor, "B C oH oW"], margin: int, dtype: torch.dtype) -> Float[Tensor, "B C H W"]:
    """Add what margins hold to the pixels that they stand for: the transpose of `mirror_`.

    Args:
        padded: a map with `margin` pixels around it; what it holds is lost.
        margin: pixels on every side, fewer than the map itself has.
        dtype: of the result.

    Returns:
        The map without its margins, in the memory order of the fused ops.
    """
    for dim in (3, 2):
        inside = padded.narrow(dim, margin, padded.shape[dim] - 2 * margin)
        last = inside.shape[dim] - 1
        for n in range(1, margin + 1):
            inside.select(dim, n).add_(padded.select(dim, margin - n))
            inside.select(dim, last - n).add_(padded.select(dim, margin + last + n))
        padded = inside
    b, c, h, w = padded.shape
    return empty_map(padded.new_empty((), dtype=dtype), b, c, h, w).copy_(padded)
