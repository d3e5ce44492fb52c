"""Power laws: exact on exact data, an interval that has what it says, crossings where the algebra has them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from upbench.analysis import power_law
from upbench.analysis.power_law import PowerLaw


def test_an_exact_law_is_found_exactly() -> None:
    law = power_law.power_law([10, 100, 1000], [3 * x**0.8 for x in (10, 100, 1000)])
    assert law is not None
    assert law.exponent == pytest.approx(0.8, abs=1e-12)
    assert law.at(50) == pytest.approx(3 * 50**0.8)
    assert (law.low, law.high) == (pytest.approx(0.8), pytest.approx(0.8))
    assert (law.first, law.last, law.sizes) == (10, 1000, 3)


def test_two_sizes_have_an_exponent_but_no_interval() -> None:
    law = power_law.power_law([1, 4], [1, 2])
    assert law is not None
    assert law.exponent == pytest.approx(0.5)
    assert law.low is None
    assert law.high is None


@pytest.mark.parametrize(("x", "y"), [([4], [1]), ([4, 4], [1, 2]), ([1, 2], [0, 1]), ([0, 2], [1, 1])])
def test_what_has_no_law(x: list[float], y: list[float]) -> None:
    assert power_law.power_law(x, y) is None


def test_the_interval_holds_the_true_exponent_about_95_times_in_100() -> None:
    random = np.random.default_rng(3)
    x = [256.0, 1024.0, 4096.0, 16384.0]
    held = 0
    for _ in range(400):
        law = power_law.power_law(x, [v**0.9 * math.exp(random.normal(0, 0.1)) for v in x])
        assert law is not None
        assert law.low is not None
        assert law.high is not None
        held += law.low <= 0.9 <= law.high
    assert 0.92 <= held / 400 <= 0.98


def test_quantiles_of_t_go_over_smoothly_into_the_expansion() -> None:
    values = [power_law.t_quantile(n) for n in range(1, 60)]
    assert values == sorted(values, reverse=True)
    assert power_law.t_quantile(30) == pytest.approx(2.042, abs=0.001)
    assert power_law.t_quantile(10_000) == pytest.approx(1.960, abs=0.001)
    with pytest.raises(ValueError, match="freedom"):
        power_law.t_quantile(0)


def law(exponent: float, factor: float, first: float = 100, last: float = 10_000) -> PowerLaw:
    return PowerLaw(exponent, math.log(factor), None, None, first, last, 3)


def test_a_crossing_is_where_both_are_equal() -> None:
    steep, flat = law(1.0, 1.0), law(0.5, 30.0)  # equal at 900
    found = power_law.crossing(steep, flat)
    assert found is not None
    assert found.x == pytest.approx(900)
    assert found.y == pytest.approx(steep.at(900)) == pytest.approx(flat.at(900))
    assert found.inside


def test_near_the_sizes_is_extrapolated_and_far_away_is_none() -> None:
    near = power_law.crossing(law(1.0, 1.0), law(0.5, 150.0))  # at 22500, beyond 10000
    assert near is not None
    assert not near.inside
    assert power_law.crossing(law(1.0, 1.0), law(0.5, 300.0)) is None  # at 90000
    assert power_law.crossing(law(1.0, 1.0), law(1.0, 2.0)) is None
    assert power_law.crossing(law(1.0, 1.0, 1, 10), law(0.5, 2.0, 100, 1000)) is None
