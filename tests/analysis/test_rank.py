"""Kendall's tau against values worked out by hand."""

from __future__ import annotations

import pytest

from upbench.analysis.rank import kendall_tau


def test_orders_that_agree_oppose_and_tie() -> None:
    assert kendall_tau([1, 2, 3, 4], [10, 20, 30, 40]) == 1
    assert kendall_tau([1, 2, 3, 4], [4, 3, 2, 1]) == -1
    assert kendall_tau([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(4 / 6)
    # Of three pairs one is a tie in the first; the other two agree.
    assert kendall_tau([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / 6**0.5)
    assert kendall_tau([1, 1], [1, 2]) is None
