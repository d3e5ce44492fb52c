"""Statistics as pure functions of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
