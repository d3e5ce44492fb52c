"""Statistics as pure functions of samples: medians with their intervals, paired ratios, and the verdict on a ratio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Summary:
    """Order statistics of samples, in their unit.

    Args:
        median: Median.
        q1: First quartile.
        q3: Third quartile.
        low: Lower end of the bootstrap 95 % interval of the median.
        high: Upper end of that interval.
        n: Number of samples.
    """

    median: float
    q1: float
    q3: float
    low: float
    high: float
    n: int

    @property
    def iqr(self) -> float:
        """The interquartile range, in the unit of the samples."""
        return self.q3 - self.q1

    @property
    def half_width(self) -> float:
        """Half the width of the interval of the median, as a part of the median."""
        return (self.high - self.low) / 2 / self.median


@dataclass(frozen=True)
class Ratio:
    """A ratio of two times with its bootstrap 95 % interval.

    Args:
        value: The ratio.
        low: Lower end of the interval.
        high: Upper end of the interval.
        rounds: Number of rounds that it is the median of.
    """

    value: float
    low: float
    high: float
    rounds: int


def bootstrap_median(
    samples: Sequence[float] | NDArray[np.float64], resamples: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the median. It is deterministic, since the generator is seeded.

    Args:
        samples: The samples.
        resamples: Number of resamples.
        level: Probability that the interval covers.

    Returns:
        Lower and upper end, in the unit of the samples.

    Raises:
        ValueError: If there are no samples.

    Source: Efron 1979.
    """
    values = np.asarray(samples, dtype=float)
    if values.size == 0:
        raise ValueError("no samples")
    picks = np.random.default_rng(0).integers(values.size, size=(resamples, values.size))
    medians = np.median(values[picks], axis=1)
    low, high = np.quantile(medians, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def summarise(samples: Sequence[float], interval: bool = True) -> Summary:
    """Return the median, the quartiles and the 95 % interval of the median.

    Args:
        samples: At least one sample.
        interval: Whether the interval is wanted, which takes most of the time; else both of its ends are the median.
    """
    values = np.asarray(samples, dtype=float)
    q1, median, q3 = np.quantile(values, [0.25, 0.5, 0.75])
    low, high = bootstrap_median(values) if interval else (median, median)
    return Summary(float(median), float(q1), float(q3), float(low), float(high), len(samples))


def paired_ratio(samples: Sequence[float], reference: Sequence[float], per_round: int = 2) -> Ratio:
    """Return the median over rounds of sum(samples of the round) / sum(reference's samples of the same round).

    Samples of a round were taken next to each other in ABBA order, so that drift cancels within the round.
    Sequences of different length (a run that was interrupted) are compared over their common rounds.

    Args:
        samples: Samples of the numerator, round by round.
        reference: Samples of the denominator, round by round, in the same unit.
        per_round: Number of samples that each of them has in a round.

    Raises:
        ValueError: If there is no complete round.
    """
    rounds = min(len(samples), len(reference)) // per_round
    if rounds == 0:
        raise ValueError("no complete round")
    shape = (rounds, per_round)
    top = np.asarray(samples[: rounds * per_round], dtype=float).reshape(shape).sum(axis=1)
    bottom = np.asarray(reference[: rounds * per_round], dtype=float).reshape(shape).sum(axis=1)
    ratios = top / bottom
    low, high = bootstrap_median(ratios.tolist())
    return Ratio(float(np.median(ratios)), low, high, rounds)


def half_width(samples: Sequence[float]) -> float:
    """Return half the width of the 95 % interval of the median, as a part of the median.

    Raises:
        ValueError: If there are no samples.
    """
    low, high = bootstrap_median(samples)
    return (high - low) / 2 / float(np.median(np.asarray(samples, dtype=float)))


def outliers(samples: Sequence[float]) -> list[int]:
    """Return the indices of samples more than 14.826 median absolute deviations from the median.

    That is ten standard deviations of a normal distribution (Iglewicz and Hoaglin 1993).
    """
    values = np.asarray(samples, dtype=float)
    distance = np.abs(values - np.median(values))
    spread = float(np.median(distance))
    return [] if spread == 0 else [int(n) for n in np.nonzero(distance > 14.826 * spread)[0]]


def plateau(widths: Sequence[float]) -> bool:
    """Return whether more samples stopped helping: the last three widths each fell by less than 5 %.

    Between two widths the number of samples grows by half, so that a width should fall by a fifth.

    Args:
        widths: Half widths of the interval, each after half as many more samples than the last.
    """
    if len(widths) < 4:
        return False
    return all(after > 0.95 * before for before, after in zip(widths[-4:-1], widths[-3:], strict=True))


class Verdict(StrEnum):
    """What a ratio of latencies says about the upsampler in its numerator."""

    FASTER = "FASTER"
    SLOWER = "SLOWER"
    SAME = "SAME"
    UNSURE = "UNSURE"


def verdict(
    ratio: Ratio, noise_floor: float = 0.0, threshold: float = 0.05, interval_threshold: float = 0.02
) -> Verdict:
    """Judge a ratio of latencies.

    FASTER or SLOWER: the ratio differs from 1 by more than `threshold`, and its whole interval by more than
    `interval_threshold`; both bounds are at least `noise_floor`. SAME: the whole interval lies within the threshold,
    and the machine can tell as much. UNSURE: anything else. The defaults are those under which 40 of 40 comparisons of
    an upsampler with itself pass on a noisy machine while a true 8 % is seen.

    Args:
        ratio: The ratio with its interval.
        noise_floor: The smallest difference that the machine can tell from none, as a part of 1.
        threshold: Difference that the ratio must exceed, as a part of 1.
        interval_threshold: Difference that the nearer end of the interval must exceed, as a part of 1.
    """
    bound, outer = max(threshold, noise_floor), max(interval_threshold, noise_floor)
    if ratio.value > 1 + bound and ratio.low > 1 + outer:
        return Verdict.SLOWER
    if ratio.value < 1 / (1 + bound) and ratio.high < 1 / (1 + outer):
        return Verdict.FASTER
    if noise_floor <= threshold and ratio.low > 1 / (1 + threshold) and ratio.high < 1 + threshold:
        return Verdict.SAME
    return Verdict.UNSURE


def verdicts(
    values: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64], noise_floors: NDArray[np.float64]
) -> list[Verdict]:
    """Judge many ratios at once, each as `verdict` does with its default thresholds; one without an interval is UNSURE.

    Args:
        values: The ratios, [N].
        low: Lower ends of their intervals, NaN where there is none, [N].
        high: Upper ends, [N].
        noise_floors: For each the smallest difference that the machine can tell from none, as a part of 1, [N].
    """
    bound, outer = np.maximum(0.05, noise_floors), np.maximum(0.02, noise_floors)
    slower = (values > 1 + bound) & (low > 1 + outer)
    faster = (values < 1 / (1 + bound)) & (high < 1 / (1 + outer))
    same = (noise_floors <= 0.05) & (low > 1 / 1.05) & (high < 1.05)
    names = (Verdict.UNSURE, Verdict.SAME, Verdict.FASTER, Verdict.SLOWER)
    return [names[n] for n in np.where(slower, 3, np.where(faster, 2, np.where(same, 1, 0))).tolist()]


def noise_floor(same: Ratio) -> float:
    """Return the difference that chance alone made of equals, as a part of 1: the further end of the interval.

    Args:
        same: The ratio of an upsampler to itself.
    """
    return max(same.high, 1 / same.low) - 1
