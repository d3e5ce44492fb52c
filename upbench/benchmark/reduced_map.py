"""Chooses smaller maps on which gradients are compared: every branch and every remainder of a tile, at a tenth of the cost.

A fused form splits a map into tiles of TILE output pixels and into chunks of some number of entries. What can go wrong
sits at the seams and at the last, incomplete tile, so that a map of a few tiles a side with the same remainders shows
what the full one would. Thresholds on the amount of data are scaled by `pixel_ratio` meanwhile (`ops.thresholds`).
"""

from __future__ import annotations

TILE = 8
"""Side of a tile of fused forms, in output pixels."""
LEAST_SIDE = 3 * TILE
"""Shortest side of a reduced map in pixels: three tiles, so that one has neighbours on both sides."""
SMALL_SIDE = 48
"""Longest side in pixels of maps that are compared as they are."""
ODD = (27, 25)
"""Height and width of one more map, whose sides leave remainders whatever those of the full map are."""
LARGE_SCALES = ((6, TILE, (11, 9)), (3, 2 * TILE, (19, 17)))
"""Scale from which a map has tiles enough in its output to be shorter, its shortest side, and its odd map."""

Size = tuple[int, int]
"""Height and width of a map, in pixels."""


def maps(height: int, width: int, scale: float = 2) -> list[Size]:
    """Return the sizes of the maps on which the gradients of a form are compared.

    Args:
        height: Rows of the low-resolution map.
        width: Columns of the low-resolution map.
        scale: Output pixels per low-resolution pixel along each side.

    Returns:
        The full size where it is small; else one with the same remainders of tiles, and an odd one.
    """
    least, odd = next(((side, odd) for least, side, odd in LARGE_SCALES if scale >= least), (LEAST_SIDE, ODD))
    small = SMALL_SIDE * least // LEAST_SIDE
    if max(height, width) <= small:
        return [(height, width)]
    return list(dict.fromkeys([(_side(height, least, small), _side(width, least, small)), odd]))


def _side(full: int, least: int, small: int) -> int:
    """Return a shorter side with the same remainder of TILE; a side that is small already stays."""
    return full if full <= small else least + full % TILE


def along(size: Size | None, full: Size, reduced: Size) -> Size | None:
    """Return the size of another map, as an image or an output, that goes with a reduced map.

    Args:
        size: Size that goes with the full map; None where it follows from that of the map.
        full: Size of the full map.
        reduced: Size of the reduced map.
    """
    if size is None:
        return None
    height, width = (
        side - round(side * (whole - short) / whole) for side, whole, short in zip(size, full, reduced, strict=True)
    )
    return height, width


def pixel_ratio(full: Size, reduced: Size) -> float:
    """Return how many times fewer pixels the reduced map has: the divisor of `ops.thresholds`.

    Args:
        full: Size of the full map.
        reduced: Size of the reduced map.
    """
    return full[0] * full[1] / (reduced[0] * reduced[1])
