"""How far two rankings of the same things agree."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence


def kendall_tau(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return Kendall's tau-b of paired values: 1 for the same order, -1 for the reverse; None where all of one are equal.

    Args:
        first: A value for each thing.
        second: Another for each, in the same order.

    Source: Kendall 1945, with his correction for ties.
    """
    agree, first_apart, second_apart = 0, 0, 0
    for (a, b), (c, d) in itertools.combinations(zip(first, second, strict=True), 2):
        one, other = (a > c) - (a < c), (b > d) - (b < d)
        agree += one * other
        first_apart += one != 0
        second_apart += other != 0
    return agree / math.sqrt(first_apart * second_apart) if first_apart and second_apart else None
