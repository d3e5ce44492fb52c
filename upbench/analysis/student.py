"""Quantiles of Student's t distribution for whole degrees of freedom."""

from __future__ import annotations

import math
from functools import cache


def central_probability(t: float, df: int) -> float:
    """Return the probability that a variable with Student's t distribution lies between -t and t.

    Args:
        t: Half the width of the interval, at least 0.
        df: Degrees of freedom, at least 1.

    Source: Abramowitz and Stegun 1964, 26.7.3 and 26.7.4, finite sums that are exact for whole degrees of freedom.
    """
    return _central_probability(math.atan(t / math.sqrt(df)), df)


def _central_probability(angle: float, df: int) -> float:
    cosine = math.cos(angle)
    odd = df % 2
    term = cosine if odd else 1.0
    total = term if df > 1 else 0.0
    for n in range(2 + odd, df - 1, 2):
        term *= cosine * cosine * (n - 1) / n
        total += term
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total


@cache
def two_sided_quantile(df: int, level: float = 0.95) -> float:
    """Return the t for which a variable lies between -t and t with probability `level`.

    Args:
        df: Degrees of freedom, at least 1.
        level: Probability, between 0 and 1.

    Raises:
        ValueError: `df` or `level` is out of range.
    """
    if df < 1 or not 0 < level < 1:
        raise ValueError(f"no quantile for {df} degrees of freedom and level {level}")
    low, high = 0.0, math.pi / 2
    for _ in range(60):  # halving an angle 60 times leaves nothing of a double's precision
        middle = (low + high) / 2
        low, high = (middle, high) if _central_probability(middle, df) < level else (low, middle)
    return math.tan((low + high) / 2) * math.sqrt(df)
