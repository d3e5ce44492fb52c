"""What passes say of a sweep: what it resolves, times that agree with ratios, whether to go on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from upbench.analysis.passes import ENOUGH_PASSES, PassRatio
from upbench.analysis.stats import Verdict
from upbench.analysis.student import two_sided_quantile

PASSES, MOST_PASSES = 5, 10
PRECISE = 0.02
"""Half width of an interval, as a part of the ratio, at which more passes are not worth their time."""


def resolution(twin: PassRatio | None) -> float | None:
    """Return the smallest difference that the sweep resolves, as a part of 1: what chance made of two equals.

    Args:
        twin: Ratio of a hidden second build of the reference cell to the reference.

    Returns:
        The further end of its interval; None without an interval.
    """
    if twin is None or twin.low is None or twin.high is None:
        return None
    return max(twin.high, 1 / twin.low) - 1


def continues(before: PassRatio, now: PassRatio, resolution: float) -> bool:
    """Return whether a ratio measured again, on another day, lies in its old interval widened by the resolution.

    Args:
        before: The ratio with its old interval; one without an interval is always continued.
        now: The ratio that was measured again.
        resolution: The smallest difference that can be resolved, as a part of 1.
    """
    if before.low is None or before.high is None:
        return True
    return before.low / (1 + resolution) <= now.value <= before.high * (1 + resolution)


@dataclass(frozen=True)
class ReferenceTimes:
    """Seconds of the reference over a whole sweep: the median, and the lowest and highest median of a pass."""

    median_s: float
    low_s: float
    high_s: float


def reference_times(samples_of_pass: Iterable[Sequence[float]]) -> ReferenceTimes:
    """Return what the reference took; each pass counts alike, however many samples it has.

    Raises:
        ValueError: There are no samples.
    """
    medians = [float(np.median(samples)) for samples in samples_of_pass if len(samples)]
    if not medians:
        raise ValueError("no samples")
    return ReferenceTimes(float(np.median(medians)), min(medians), max(medians))


@dataclass(frozen=True)
class PassLatency:
    """Seconds a call of one upsampler by itself, with its 95 % interval over passes of one run.

    The interval holds what happens within the run; another run, at another time, may lie outside of it.
    """

    value_s: float
    low_s: float | None
    high_s: float | None
    passes: int


def within_run(samples_of_pass: Iterable[Sequence[float]]) -> PassLatency:
    """Return the latency without a reference: geometric mean of the medians of passes, with the t interval of its log.

    Args:
        samples_of_pass: Seconds a call, for each pass; passes without samples do not count.

    Raises:
        ValueError: There are no samples.
    """
    logs = np.log([float(np.median(samples)) for samples in samples_of_pass if len(samples)])
    if (n := logs.size) == 0:
        raise ValueError("no samples")
    mean = float(logs.mean())
    if n < ENOUGH_PASSES:
        return PassLatency(math.exp(mean), None, None, n)
    half = two_sided_quantile(n - 1) * float(logs.std(ddof=1)) / math.sqrt(n)
    return PassLatency(math.exp(mean), math.exp(mean - half), math.exp(mean + half), n)


def wants_more_passes(half_widths: Sequence[float | None], done: int, spent_s: float, budget_s: float) -> bool:
    """Return whether a sweep goes on after `done` whole passes.

    Args:
        half_widths: Of every cell's ratio to the reference; None where a cell has no interval.
        done: Whole passes so far.
        spent_s: Seconds of measuring so far.
        budget_s: Seconds of measuring that the user allowed for all cells together.
    """
    if done < PASSES:
        return True
    known = sorted(width for width in half_widths if width is not None)
    if done >= MOST_PASSES or not known or spent_s * (done + 1) / done > budget_s:
        return False
    return known[len(known) // 2] > PRECISE


def decides_nothing(ratios: Iterable[tuple[PassRatio, float]]) -> bool:
    """Return whether a sweep could neither separate any ratio from 1 nor call one the same; False without a ratio.

    Args:
        ratios: Each with the smallest difference that its sweep resolves, as a part of 1.
    """
    empty = True
    for ratio, resolution in ratios:  # mostly the first one decides, and no other is read
        if ratio.verdict(resolution) is not Verdict.UNSURE:
            return False
        empty = False
    return not empty
