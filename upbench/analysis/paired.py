"""Paired differences: their mean with its interval, the exact sign-flip test, Holm's correction, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from upbench.analysis.student import two_sided_quantile

MOST_FLIPPED = 20
"""More pairs than this have too many sign patterns to try all."""
TIE = 1e-9
"""Sums of absolute value this close are one: the same differences in another order round otherwise."""


class Better(StrEnum):
    """What is said of something against a base, where more is better."""

    better = "BETTER"
    worse = "WORSE"
    same = "SAME"
    unsure = "UNSURE"


@dataclass(frozen=True)
class Difference:
    """Paired differences in one place.

    Args:
        mean: Their mean.
        low: Lower end of the 95 % interval of the mean, by Student's t; None for a single pair.
        high: Upper end of it.
        sd: Their standard deviation; None for a single pair.
        wins: How many are above 0.
        pairs: How many there are.
        p: Probability of a mean as far from 0, if each sign were as likely; see `sign_flip`.
    """

    mean: float
    low: float | None
    high: float | None
    sd: float | None
    wins: int
    pairs: int
    p: float

    @property
    def bound(self) -> float | None:
        """The end of the interval that is further from 0, as an absolute value: what such a comparison can resolve."""
        return None if self.low is None or self.high is None else max(abs(self.low), abs(self.high))


def difference(values: Sequence[float], others: Sequence[float], level: float = 0.95) -> Difference:
    """Compare values with those they are paired with.

    Args:
        values: The values.
        others: What each is compared with, in the same order.
        level: Probability that the interval covers.

    Raises:
        ValueError: If there are none, or not as many of both.
    """
    pairs = [a - b for a, b in zip(values, others, strict=True)]
    if not pairs:
        raise ValueError("no pairs to compare")
    mean = math.fsum(pairs) / len(pairs)
    wins, p = sum(d > 0 for d in pairs), sign_flip(pairs)
    if len(pairs) == 1:
        return Difference(mean, None, None, None, wins, 1, p)
    sd = math.sqrt(math.fsum((d - mean) ** 2 for d in pairs) / (len(pairs) - 1))
    half = two_sided_quantile(len(pairs) - 1, level) * sd / math.sqrt(len(pairs))
    return Difference(mean, mean - half, mean + half, sd, wins, len(pairs), p)


def sign_flip(differences: Sequence[float]) -> float:
    """Return the two-sided p of the exact sign-flip test: the share of sign patterns whose sum is at least as far from 0.

    Args:
        differences: Paired differences, at most MOST_FLIPPED.

    Raises:
        ValueError: If there are none or too many.

    Source: Fisher 1935, randomisation test of paired differences.
    """
    if not 1 <= len(differences) <= MOST_FLIPPED:
        raise ValueError(f"{len(differences)} differences, but the exact test takes 1 to {MOST_FLIPPED}")
    sums = np.zeros(1)
    for one in differences:
        sums = np.concatenate([sums + one, sums - one])
    seen = abs(math.fsum(differences))
    slack = TIE * max(1.0, sum(map(abs, differences)))
    return float(np.mean(np.abs(sums) >= seen - slack))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for being several, in their order.

    Args:
        p_values: The p of each of several tests.

    Source: Holm 1979.
    """
    adjusted = [1.0] * len(p_values)
    greatest = 0.0
    for place, n in enumerate(sorted(range(len(p_values)), key=lambda n: p_values[n])):
        greatest = max(greatest, min(1.0, (len(p_values) - place) * p_values[n]))
        adjusted[n] = greatest
    return adjusted


def judged(found: Difference, resolution: float | None, p: float | None = None, level: float = 0.05) -> Better:
    """Return the verdict on a difference.

    BETTER or WORSE needs all three: an interval without 0, a p below the level, and a mean beyond the resolution. SAME
    needs the whole interval within the resolution. All else is UNSURE.

    Args:
        found: The difference.
        resolution: What the comparison can resolve; None where it is not known.
        p: Its p, adjusted; None for that of the difference.
        level: What p must be below.
    """
    if resolution is None or found.low is None or found.high is None:
        return Better.unsure
    apart = found.low > 0 or found.high < 0
    if apart and (found.p if p is None else p) < level and abs(found.mean) > resolution:
        return Better.better if found.mean > 0 else Better.worse
    return Better.same if -resolution <= found.low and found.high <= resolution else Better.unsure
