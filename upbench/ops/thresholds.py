"""Amounts of data from which an op takes another branch or another piece, scaled down where a small map stands for a large one.

Gradients are compared on small maps (`benchmark.reduced_map`). Such a check is worth as much as one on the large map only
if the small one takes the same branches and is cut into as many pieces. This module is the one door to that: an op whose
choice depends on an amount that grows with the pixels of a map (bytes of a result, rows that are read, entries of a chunk)
declares the amount as a constant of its module and asks for it by `scaled` each time it is called:

    ENTRIES = 2**23
    \"\"\"Values of a piece of the output.\"\"\"
    ...
    step = max(thresholds.scaled(ENTRIES) // taps, 64)
    large = result_bytes >= thresholds.scaled(LARGE)

An amount that does not grow with the map (channels, taps, the side of a tile) is compared as it is. What a kernel in C
decides is given to it as an argument that was scaled here. Nothing else is needed: the check finds a new op by its
fused form, and `tests/slow/seeded_faults.py` is where a fault of its large branch is added.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_ratio = 1.0


def scaled(threshold: int) -> int:
    """Return a threshold as it holds now, at least 1.

    Args:
        threshold: Amount that grows with the pixels of a map, as it holds for maps that stand for themselves.
    """
    return threshold if _ratio == 1 else max(1, round(threshold / _ratio))


@contextmanager
def for_smaller_maps(ratio: float) -> Iterator[None]:
    """Let maps stand for larger ones.

    Args:
        ratio: Number of times that the larger ones have as many pixels.
    """
    global _ratio
    before, _ratio = _ratio, ratio
    try:
        yield
    finally:
        _ratio = before
