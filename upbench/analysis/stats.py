"""Statistics as pure functions of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np


@dataclass(frozen=True)
class Summary:
    """Order statistics of samples, in their unit. low and high: bootstrap 95 % interval of the median."""

    median: float
    q1: float
    q3: float
    low: float
    high: float
    n: int

    @property
    def iqr(self) -> float:
        return self.q3 - self.q1

    @property
    def half_width(self) -> float:
        """Half the interval of the median, as a part of the median."""
        return (self.high - self.low) / 2 / self.median


@dataclass(frozen=True)
class Ratio:
    """A paired ratio with its bootstrap 95 % interval over rounds."""

    value: float
    low: float
    high: float
    rounds: int


def bootstrap_median(samples: Sequence[float], resamples: int = 2000, level: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of the median (Efron 1979). Deterministic: the generator is seeded."""
    values = np.asarray(samples, dtype=float)
    if values.size == 0:
        raise ValueError("no samples")
    picks = np.random.default_rng(0).integers(values.size, size=(resamples, values.size))
    medians = np.median(values[picks], axis=1)
    low, high = np.quantile(medians, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def summarise(samples: Sequence[float]) -> Summary:
    """Median, quartiles and the interval of the median."""
    q1, median, q3 = np.quantile(np.asarray(samples, dtype=float), [0.25, 0.5, 0.75])
    low, high = bootstrap_median(samples)
    return Summary(float(median), float(q1), float(q3), low, high, len(samples))


def paired_ratio(samples: Sequence[float], reference: Sequence[float], per_round: int = 2) -> Ratio:
    """Median over rounds of sum(samples of the round) / sum(reference's samples of the same round).

    Samples of a round were taken next to each other in ABBA order, so that drift cancels within the round.
    Sequences of different length (a run that was interrupted) are compared over their common rounds.
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
    """Half the width of the 95 % interval of the median, as a part of the median."""
    low, high = bootstrap_median(samples)
    return (high - low) / 2 / float(np.median(np.asarray(samples, dtype=float)))


def outliers(samples: Sequence[float]) -> list[int]:
    """Places of samples more than 14.826 median absolute deviations from the median (Iglewicz and Hoaglin 1993,
    ten standard deviations of a normal distribution)."""
    values = np.asarray(samples, dtype=float)
    distance = np.abs(values - np.median(values))
    spread = float(np.median(distance))
    return [] if spread == 0 else [int(n) for n in np.nonzero(distance > 14.826 * spread)[0]]


def plateau(widths: Sequence[float]) -> bool:
    """Whether more samples stopped helping: the last three widths each fell by less than 5 %.

    Between two widths the number of samples grows by half, so that a width should fall by a fifth.
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
    """FASTER or SLOWER: the ratio differs from 1 by more than `threshold`, its whole interval by `interval_threshold`.

    Both bounds are at least `noise_floor`, the smallest difference that the machine can tell from none. SAME: the whole
    interval lies within the threshold, and the machine can tell as much. UNSURE: anything else. The defaults are those
    under which 40 of 40 comparisons of an upsampler with itself pass on a noisy machine while a true 8 % is seen.
    """
    bound, outer = max(threshold, noise_floor), max(interval_threshold, noise_floor)
    if ratio.value > 1 + bound and ratio.low > 1 + outer:
        return Verdict.SLOWER
    if ratio.value < 1 / (1 + bound) and ratio.high < 1 / (1 + outer):
        return Verdict.FASTER
    if noise_floor <= threshold and ratio.low > 1 / (1 + threshold) and ratio.high < 1 + threshold:
        return Verdict.SAME
    return Verdict.UNSURE


def noise_floor(same: Ratio) -> float:
    """The smallest difference that a comparison of something with itself shows to be none, as a part of 1.

    same: the ratio of an upsampler to itself. The further end of its interval: what chance alone made of equals.
    """
    return max(same.high, 1 / same.low) - 1
