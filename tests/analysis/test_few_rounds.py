"""The verdict on a few rounds."""

from __future__ import annotations

import numpy as np
import pytest

from upbench.analysis import rounds
from upbench.analysis.stats import Verdict


def _two(count: int, factor: float, sd: float, seed: int = 0) -> tuple[list[float], list[float]]:
    a, b = np.exp(np.random.default_rng(seed).normal(0, sd, (2, 2 * count)))
    return (a * factor).tolist(), b.tolist()


def test_the_interval_of_t() -> None:
    found = rounds.t_ratio([2.0, 2.0, 2.2, 2.2], [1.0, 1.0, 1.0, 1.0])
    assert found.value == pytest.approx((2.0 * 2.2) ** 0.5)
    assert found.rounds == 2
    assert found.high / found.value == pytest.approx(1.1 ** (12.706 / 2), rel=1e-4)
    with pytest.raises(ValueError, match="fewer than two"):
        rounds.t_ratio([1.0, 1.0], [1.0, 1.0])


@pytest.mark.parametrize(("count", "said"), [(7, Verdict.UNSURE), (8, Verdict.SLOWER), (20, Verdict.SLOWER)])
def test_slow_calls_get_a_verdict_from_eight_rounds_on(count: int, said: Verdict) -> None:
    assert rounds.verdict(*_two(count, 1.2, 0.01)) is said


def test_noisy_rounds_stay_unsure() -> None:
    assert rounds.verdict(*_two(8, 1.08, 0.3)) is Verdict.UNSURE


def test_the_interval_of_few_rounds_holds_the_truth() -> None:
    held = 0
    for seed in range(400):
        found = rounds.t_ratio(*_two(10, 1.0, 0.1, seed))
        held += found.low <= 1 <= found.high
    assert held >= 0.92 * 400
