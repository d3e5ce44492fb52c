"""Paired differences against values worked out by other means."""

from __future__ import annotations

import itertools
import math
import statistics

import pytest

from upbench.analysis.paired import Better, Difference, difference, holm, judged, sign_flip

T_95 = {1: 12.7062, 5: 2.5706, 11: 2.2010}
"""Quantiles as printed in tables, by degrees of freedom."""


@pytest.mark.parametrize(
    "pairs", [[0.5, 0.7], [1.3, 0.2, 2.1, 1.1, 0.9, 1.6], [0.1 * n - 0.4 for n in range(12)]], ids=len
)
def test_the_interval_is_that_of_students_t(pairs: list[float]) -> None:
    found = difference([10 + d for d in pairs], [10.0] * len(pairs))
    half = T_95[len(pairs) - 1] * statistics.stdev(pairs) / math.sqrt(len(pairs))
    assert found.mean == pytest.approx(statistics.fmean(pairs))
    assert found.sd == pytest.approx(statistics.stdev(pairs))
    assert found.low == pytest.approx(statistics.fmean(pairs) - half, rel=1e-4)
    assert found.high == pytest.approx(statistics.fmean(pairs) + half, rel=1e-4)
    assert (found.wins, found.pairs) == (sum(d > 1e-9 for d in pairs), len(pairs))


@pytest.mark.parametrize("pairs", [[1.0], [0.3, -0.1, 0.2], [1.3, 0.2, 2.1, -1.1, 0.9, 1.6], [0.1] * 7 + [-0.1] * 2])
def test_p_is_the_share_of_sign_patterns_as_far_out(pairs: list[float]) -> None:
    patterns = list(itertools.product((1, -1), repeat=len(pairs)))
    sums = [abs(sum(s * d for s, d in zip(signs, pairs, strict=True))) for signs in patterns]
    expected = sum(one >= abs(sum(pairs)) - 1e-9 for one in sums) / len(patterns)
    assert sign_flip(pairs) == pytest.approx(expected)


def test_six_wins_of_six_give_a_thirty_second() -> None:
    assert sign_flip([0.4, 1.2, 0.7, 0.1, 2.0, 0.3]) == 2 / 64
    assert sign_flip([-0.4] * 12) == 2 / 4096


def test_holm_as_worked_out_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def made(low: float, high: float, p: float = 0.01) -> Difference:
    return Difference((low + high) / 2, low, high, 0.1, 6, 6, p)


@pytest.mark.parametrize(
    ("found", "p", "verdict"),
    [
        (made(0.9, 1.7), None, Better.better),
        (made(-1.7, -0.9), None, Better.worse),
        (made(0.9, 1.7), 0.06, Better.unsure),  # adjusted for other rows
        (made(0.1, 1.0), None, Better.unsure),  # a mean within the resolution
        (made(-0.1, 3.0), None, Better.unsure),  # an interval with 0
        (made(-0.4, 0.6), 0.9, Better.same),
        (made(0.1, 0.6), None, Better.same),
        (made(-0.4, 0.8), 0.9, Better.unsure),
    ],
)
def test_a_verdict_needs_interval_test_and_resolution(found: Difference, p: float | None, verdict: Better) -> None:
    assert judged(found, 0.7, p) is verdict
    assert judged(found, None, p) is Better.unsure


def test_one_pair_has_no_interval_and_no_verdict() -> None:
    found = difference([2.0], [1.0])
    assert (found.low, found.bound) == (None, None)
    assert judged(found, 0.1) is Better.unsure
    with pytest.raises(ValueError, match="no pairs"):
        difference([], [])
    with pytest.raises(ValueError, match="1 to 20"):
        sign_flip([])
