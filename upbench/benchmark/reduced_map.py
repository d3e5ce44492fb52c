"""The smaller maps on which gradients are compared: every branch and every remainder of a tile, at a tenth of the cost.

A fused form splits a map into tiles of TILE output pixels and into chunks of some number of entries. What can go wrong
sits at the seams and at the last, incomplete tile, so that a map of a few tiles a side with the same remainders shows
what the full one would. Thresholds on the amount of data are scaled by `pixel_ratio` meanwhile (`ops.thresholds`).
"""

from __future__ import annotations

TILE = 8
LEAST_SIDE = 3 * TILE
"""Pixels: three tiles a side, so that one has neighbours on both sides."""
SMALL_SIDE = 48
"""Maps of at most this side are compared as they are."""
ODD = (27, 25)
"""One map more, whose sides leave remainders whatever the full one does."""

Size = tuple[int, int]


def maps(height: int, width: int) -> list[Size]:
    """The sizes on which the gradients of a form over a map of this size are compared.

    Args:
        height: Rows of the low-resolution map.
        width: Its columns.

    Returns:
        The full size where it is small; else one with the same remainders of tiles, and an odd one.
    """
    if max(height, width) <= SMALL_SIDE:
        return [(height, width)]
    return list(dict.fromkeys([(_side(height), _side(width)), ODD]))


def _side(full: int) -> int:
    """A shorter side with the same remainder of TILE; sides that are small already stay."""
    return full if full <= SMALL_SIDE else LEAST_SIDE + full % TILE


def pixel_ratio(full: Size, reduced: Size) -> float:
    """How many times fewer pixels the reduced map has: what `ops.thresholds` are divided by."""
    return full[0] * full[1] / (reduced[0] * reduced[1])
