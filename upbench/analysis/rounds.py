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
    """Geometric mean over rounds of the ratio of two calls, with the 95 % t interval of its log.

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


def verdict(
    samples_s: Sequence[float], reference_s: Sequence[float], resolution: float = 0.0, per_round: int = 2
) -> Verdict:
    """What interleaved rounds say of the first call: by the bootstrap from 20 rounds on, by t from 8, else UNSURE."""
    rounds = min(len(samples_s), len(reference_s)) // per_round
    if rounds >= BOOTSTRAP_FROM:
        return stats.verdict(stats.paired_ratio(samples_s, reference_s, per_round), resolution)
    if rounds >= T_FROM:
        return stats.verdict(t_ratio(samples_s, reference_s, per_round), resolution)
    return Verdict.UNSURE
