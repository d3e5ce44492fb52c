"""Quantiles of Student's t against printed tables."""

from __future__ import annotations

import math

import pytest

from upbench.analysis.student import central_probability, two_sided_quantile

# Abramowitz and Stegun 1964, table 26.10, and NIST/SEMATECH 1.3.6.7.2: df -> t of 90, 95, 99 % two-sided.
TABLE = {
    1: (6.314, 12.706, 63.657),
    2: (2.920, 4.303, 9.925),
    3: (2.353, 3.182, 5.841),
    4: (2.132, 2.776, 4.604),
    5: (2.015, 2.571, 4.032),
    7: (1.895, 2.365, 3.499),
    12: (1.782, 2.179, 3.055),
    17: (1.740, 2.110, 2.898),
    30: (1.697, 2.042, 2.750),
    120: (1.658, 1.980, 2.617),
}


@pytest.mark.parametrize("df", TABLE)
def test_quantiles_are_those_of_the_printed_tables(df: int) -> None:
    found = [two_sided_quantile(df, level) for level in (0.90, 0.95, 0.99)]
    assert found == pytest.approx(TABLE[df], abs=6e-4)


@pytest.mark.parametrize("df", [1, 2, 3, 8, 13, 200])
def test_the_quantile_undoes_the_probability(df: int) -> None:
    assert central_probability(two_sided_quantile(df, 0.8), df) == pytest.approx(0.8, abs=1e-12)


def test_many_degrees_of_freedom_are_normal() -> None:
    assert two_sided_quantile(20001) == pytest.approx(1.959964, abs=2e-4)
    assert central_probability(1.0, 20001) == pytest.approx(math.erf(1 / math.sqrt(2)), abs=1e-4)


@pytest.mark.parametrize(("df", "level"), [(0, 0.95), (4, 0.0), (4, 1.0)])
def test_what_has_no_quantile_is_refused(df: int, level: float) -> None:
    with pytest.raises(ValueError, match="no quantile"):
        two_sided_quantile(df, level)
