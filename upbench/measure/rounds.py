"""The protocol of every timing in rounds, whatever is timed: how long a sample is, how many rounds, and when they end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from upbench.analysis import stats

SAMPLE_S = 0.001
"""A sample is at least this long, so that the overhead of the clock stays below 0.1 %; and no longer, so that few
samples are cut by whatever else the machine does."""
PER_ROUND = 2
"""Samples of each call in a round."""
WARMUP_S = 2.0
"""The longest warm-up."""
PRECISION = 0.01
"""The half width of an interval, as a part of the value, that is narrow enough."""


@dataclass(frozen=True)
class Limits:
    """How many rounds are taken.

    Attributes:
        least: rounds that are taken however slow a call is.
        check_from: rounds before the first look at the interval; each further look comes after half as many more.
        most: rounds that are never exceeded.
    """

    least: int
    check_from: int
    most: int


ALONE = Limits(least=2, check_from=20, most=5000)
"""Of one call alone."""
SEVERAL = Limits(least=3, check_from=20, most=5000)
"""Of several calls in one process."""
PROCESSES = Limits(least=10, check_from=30, most=2000)
"""Of processes that take turns, in which single rounds are told apart less well."""


def take(
    limits: Limits,
    total_s: float,
    one_round: Callable[[int], bool],
    width: Callable[[], float],
    precision: float = PRECISION,
    now_s: Callable[[], float] = time.perf_counter,
) -> str:
    """Take rounds until the interval is narrow enough, more rounds no longer narrow it, or the time is spent.

    Args:
        limits: how many rounds at least and at most, and when to look first.
        total_s: seconds for all rounds together; the least number of rounds is taken all the same.
        one_round: takes the round of this number, from 0, and returns whether it counts.
        width: the half width of the interval after the rounds so far, as a part of the value.
        precision: the width that is narrow enough.
        now_s: a clock, in seconds.

    Returns:
        Why the rounds ended: "precise", "plateau", "budget", or "interrupted" by Ctrl-C, before which one round counts.
    """
    start, done, next_check = now_s(), 0, limits.check_from
    widths: list[float] = []
    while done < limits.most:
        spent = now_s() - start
        if done >= limits.least and spent * (done + 1) / done > total_s:
            break
        if done >= next_check:
            next_check = done + max(1, done // 2)
            widths.append(width())
            if widths[-1] <= precision or stats.plateau(widths):
                return "precise" if widths[-1] <= precision else "plateau"
        try:
            done += one_round(done)
        except KeyboardInterrupt:
            if done == 0:
                raise
            return "interrupted"
    return "budget"
