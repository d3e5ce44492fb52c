"""The protocol of every timing in rounds, whatever is timed: how long a sample is, how many rounds, and when they end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from upbench.analysis import stats
from upbench.errors import InputError

SAMPLE_S = 0.001
"""Least seconds of a sample, so that the overhead of the clock stays below 0.1 %. It is not longer, so that few samples
are cut by whatever else the machine does."""
PER_ROUND = 2
"""Number of samples of each call in a round."""
WARMUP_S = 2.0
"""Most seconds of a warm-up, where the environment variable WARMUP names no other number."""
WARMUP = "UPBENCH_WARMUP"
PRECISION = 0.01
"""Half width of an interval, as a part of the value, that is narrow enough."""


@dataclass(frozen=True)
class Limits:
    """The numbers of rounds that are taken.

    Attributes:
        least: Number of rounds that are taken however slow a call is.
        check_from: Number of rounds before the first look at the interval; each further look comes after half as many more.
        most: Number of rounds that is never exceeded.
    """

    least: int
    check_from: int
    most: int


ALONE = Limits(least=2, check_from=20, most=5000)
"""Limits for one call alone."""
SEVERAL = Limits(least=3, check_from=20, most=5000)
"""Limits for several calls in one process."""
PROCESSES = Limits(least=10, check_from=30, most=2000)
"""Limits for processes that take turns, whose single rounds are less certain."""


def warmup_s() -> float:
    """Return the most seconds of a warm-up: those of the environment variable UPBENCH_WARMUP, else two.

    Raises:
        InputError: The variable is no number of at least 0.
    """
    text = os.environ.get(WARMUP, str(WARMUP_S))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise InputError(
            f"{WARMUP} is {text!r} but must be the most seconds of a warm-up, a number of at least 0; unset it for {WARMUP_S:g}"
        )
    return seconds


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
        limits: Least and largest number of rounds, and when to look first.
        total_s: Seconds for all rounds together; the least number of rounds is taken all the same.
        one_round: Takes the round of this number, from 0, and returns whether it counts.
        width: Returns the half width of the interval after the rounds so far, as a part of the value.
        precision: Width that is narrow enough.
        now_s: Clock, in seconds.

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
