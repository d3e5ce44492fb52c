"""The verdict on a few interleaved rounds, where there are too few for the bootstrap of a median."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from upbench.analysis import stats
from upbench.analysis.stats import Ratio, Verdict
from upbench.analysis.student import two_sided_quantile

BOOTSTRAP_FROM = 20
"""Rounds from which on the bootstrap interval of the median ratio holds what it states."""
T_FROM = 8
"""Rounds from which on the t interval of the mean log ratio does."""


def t_ratio(samples_s: Sequence[float], reference_s: Sequence[float], per_round: int = 2) -> Ratio:
    """Return the geometric mean over rounds of the ratio of two calls, with the 95 % t interval of its log.

    Args:
        samples_s: Seconds of one call, `per_round` of them a round.
        reference_s: Seconds of the other in the same rounds.
        per_round: Samples of each in a round.

    Raises:
        ValueError: There are fewer than two complete rounds.
    """
    rounds = min(len(samples_s), len(reference_s)) // per_round
    if rounds < 2:
        raise ValueError("fewer than two complete rounds")
    shape = (rounds, per_round)
    top, bottom = (
        np.asarray(s[: rounds * per_round], dtype=float).reshape(shape).sum(1) for s in (samples_s, reference_s)
    )
    logs = np.log(top / bottom)
    mean = float(logs.mean())
    half = two_sided_quantile(rounds - 1) * float(logs.std(ddof=1)) / math.sqrt(rounds)
    return Ratio(math.exp(mean), math.exp(mean - half), math.exp(mean + half), rounds)


def paired(samples_s: Sequence[float], reference_s: Sequence[float], per_round: int = 2) -> Ratio:
    """Return the ratio of two calls from the rounds that both were timed in, with its 95 % interval.

    From BOOTSTRAP_FROM rounds on it is the median with its bootstrap interval, from T_FROM on the geometric mean with its
    t interval. Of fewer rounds the interval does not hold what it states: `judged` says UNSURE of them.

    Args:
        samples_s: Seconds of one call, `per_round` of them a round.
        reference_s: Seconds of the other in the same rounds.
        per_round: Samples of each in a round.

    Raises:
        ValueError: If there is no complete round.
    """
    rounds = min(len(samples_s), len(reference_s)) // per_round
    few = T_FROM <= rounds < BOOTSTRAP_FROM
    return (t_ratio if few else stats.paired_ratio)(samples_s, reference_s, per_round)


def judged(
    ratio: Ratio, noise_floor: float = 0.0, threshold: float = 0.05, interval_threshold: float = 0.02
) -> Verdict:
    """Judge a ratio that rounds gave, as `stats.verdict` does; of fewer than T_FROM rounds the verdict is UNSURE.

    Args:
        ratio: The ratio, as `paired` returns it.
        noise_floor: The smallest difference that the machine can tell from none, as a part of 1.
        threshold: Difference that the ratio must exceed, as a part of 1.
        interval_threshold: Difference that the nearer end of the interval must exceed, as a part of 1.
    """
    if ratio.rounds < T_FROM:
        return Verdict.UNSURE
    return stats.verdict(ratio, noise_floor, threshold, interval_threshold)


def verdict(
    samples_s: Sequence[float], reference_s: Sequence[float], noise_floor: float = 0.0, per_round: int = 2
) -> Verdict:
    """Return what interleaved rounds say of the first of two calls, see `paired` and `judged`.

    Args:
        samples_s: Seconds of one call, `per_round` of them a round.
        reference_s: Seconds of the other in the same rounds.
        noise_floor: The smallest difference that the machine can resolve, as a part of 1.
        per_round: Samples of each in a round.

    Raises:
        ValueError: If there is no complete round.
    """
    return judged(paired(samples_s, reference_s, per_round), noise_floor)
