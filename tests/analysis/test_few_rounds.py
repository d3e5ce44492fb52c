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


@pytest.mark.parametrize(
    ("count", "factor", "said"),
    [
        (2, 40.0, Verdict.UNSURE),
        (3, 40.0, Verdict.SLOWER),
        (3, 0.04, Verdict.FASTER),
        (5, 1.8, Verdict.SLOWER),
        (7, 1.4, Verdict.UNSURE),
    ],
)
def test_a_factor_shows_in_three_rounds(count: int, factor: float, said: Verdict) -> None:
    assert rounds.verdict(*_two(count, factor, 0.05)) is said


def test_equals_are_never_told_apart_by_a_few_disturbed_rounds() -> None:
    said = [rounds.verdict(*_two(count, 1.0, 0.15, seed)) for count in range(3, 8) for seed in range(1000)]
    assert set(said) == {Verdict.UNSURE}
    # A round that was disturbed as a whole keeps the range wide.
    assert rounds.verdict([1.0] * 4 + [9.0] * 2, [1.0] * 6) is Verdict.UNSURE


def test_what_is_far_is_far_from_its_limit() -> None:
    found = rounds.paired(*_two(3, 80.0, 0.05))
    assert (found.rounds, rounds.is_far(found, 2.0), rounds.is_far(found, 500.0)) == (3, True, True)
    assert not rounds.is_far(found, 70.0)
    assert not rounds.is_far(found, 40.0, noise_floor=1.0)
