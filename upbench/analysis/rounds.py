"""The verdict on a few interleaved rounds, where there are too few for the bootstrap of a median."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from upbench.analysis import stats
from upbench.analysis.stats import Ratio, Verdict
from upbench.analysis.student import two_sided_quantile

BOOTSTRAP_FROM = 20
"""Rounds from which on the bootstrap interval of the median ratio holds what it states."""
T_FROM = 8
"""Rounds from which on the t interval of the mean log ratio does."""
FAR_FROM = 3
"""Rounds from which on a difference is beyond doubt if it is FAR in every one of them."""
FAR = 1.5
"""Factor by which a ratio is far from what it is judged against: no noise makes equals differ so in every round."""


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
    logs = np.log(_ratios(samples_s, reference_s, per_round))
    mean = float(logs.mean())
    half = two_sided_quantile(rounds - 1) * float(logs.std(ddof=1)) / math.sqrt(rounds)
    return Ratio(math.exp(mean), math.exp(mean - half), math.exp(mean + half), rounds)


def paired(samples_s: Sequence[float], reference_s: Sequence[float], per_round: int = 2) -> Ratio:
    """Return the ratio of two calls from the rounds that both were timed in, with its 95 % interval.

    From BOOTSTRAP_FROM rounds on it is the median with its bootstrap interval, from T_FROM on the geometric mean with its
    t interval. Of fewer rounds it is the median with the lowest and the highest ratio of a round: see `judged`.

    Args:
        samples_s: Seconds of one call, `per_round` of them a round.
        reference_s: Seconds of the other in the same rounds.
        per_round: Samples of each in a round.

    Raises:
        ValueError: If there is no complete round.
    """
    rounds = min(len(samples_s), len(reference_s)) // per_round
    if rounds < T_FROM:
        return _range(samples_s, reference_s, per_round)
    return (t_ratio if rounds < BOOTSTRAP_FROM else stats.paired_ratio)(samples_s, reference_s, per_round)


def is_far(ratio: Ratio, limit: float = 1.0, noise_floor: float = 0.0) -> bool:
    """Return whether few rounds, all of them, lie beyond a limit or all within it by FAR, so that more need not be waited for.

    Args:
        ratio: The ratio, as `paired` returns it.
        limit: What it is compared with.
        noise_floor: The smallest difference that the machine can tell from none, as a part of 1.
    """
    factor = FAR * (1 + noise_floor)
    return ratio.rounds >= FAR_FROM and (ratio.low > limit * factor or ratio.high < limit / factor)


def judged(
    ratio: Ratio, noise_floor: float = 0.0, threshold: float = 0.05, interval_threshold: float = 0.02
) -> Verdict:
    """Judge a ratio that rounds gave, as `stats.verdict` does; of fewer than T_FROM rounds UNSURE, but for what `is_far`.

    Args:
        ratio: The ratio, as `paired` returns it.
        noise_floor: The smallest difference that the machine can tell from none, as a part of 1.
        threshold: Difference that the ratio must exceed, as a part of 1.
        interval_threshold: Difference that the nearer end of the interval must exceed, as a part of 1.
    """
    if ratio.rounds < T_FROM and not is_far(ratio, noise_floor=noise_floor):
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


def _range(samples_s: Sequence[float], reference_s: Sequence[float], per_round: int) -> Ratio:
    """The median of the ratios of all rounds, the lowest and the highest."""
    ratios = _ratios(samples_s, reference_s, per_round)
    if not ratios.size:
        raise ValueError("no complete round")
    return Ratio(float(np.median(ratios)), float(ratios.min()), float(ratios.max()), ratios.size)


def _ratios(samples_s: Sequence[float], reference_s: Sequence[float], per_round: int) -> NDArray[np.float64]:
    """The ratio of each complete round."""
    count = min(len(samples_s), len(reference_s)) // per_round * per_round
    top, bottom = (np.asarray(s[:count], dtype=float).reshape(-1, per_round).sum(1) for s in (samples_s, reference_s))
    ratios: NDArray[np.float64] = top / bottom
    return ratios
