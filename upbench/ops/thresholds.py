"""Amounts of data from which an op takes another branch or another piece, scaled down where a small map stands for a large one.

A check of gradients on a small map is worth as much as one on the large map only if the small one takes the same
branches and is cut into as many pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_ratio = 1.0


def scaled(threshold: int) -> int:
    """The threshold as it holds now, at least 1."""
    return threshold if _ratio == 1 else max(1, round(threshold / _ratio))


@contextmanager
def for_smaller_maps(ratio: float) -> Iterator[None]:
    """Inside, maps stand for ones with `ratio` times as many pixels."""
    global _ratio
    before, _ratio = _ratio, ratio
    try:
        yield
    finally:
        _ratio = before
