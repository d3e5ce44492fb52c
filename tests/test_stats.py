"""Statistics of known samples."""

import pytest

from upbench import stats


def test_summary_of_known_samples() -> None:
    summary = stats.summarise([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (summary.median, summary.q1, summary.q3, summary.iqr, summary.n) == (3.0, 2.0, 4.0, 2.0, 5)
    assert summary.low <= summary.median <= summary.high


def test_interval_narrows_with_more_samples_and_is_repeatable() -> None:
    few, many = [1.0, 2.0, 3.0, 4.0] * 2, [1.0, 2.0, 3.0, 4.0] * 100
    width = [high - low for low, high in (stats.bootstrap_median(few), stats.bootstrap_median(many))]
    assert width[1] < width[0]
    assert stats.bootstrap_median(few) == stats.bootstrap_median(few)


def test_interval_of_equal_samples_has_no_width() -> None:
    assert stats.bootstrap_median([2.0] * 9) == (2.0, 2.0)


def test_paired_ratio_cancels_drift() -> None:
    """The machine becomes four times slower on the way; the ratio of a round does not notice."""
    reference = [1.0 + r for r in range(4) for _ in range(2)]
    ratio = stats.paired_ratio([1.5 * s for s in reference], reference)
    assert (ratio.value, ratio.low, ratio.high, ratio.rounds) == (1.5, 1.5, 1.5, 4)


def test_paired_ratio_uses_common_complete_rounds() -> None:
    assert stats.paired_ratio([2.0, 2.0, 2.0, 2.0, 9.0], [1.0, 1.0]).rounds == 1


def test_no_samples_is_an_error_not_a_zero() -> None:
    with pytest.raises(ValueError, match="no samples"):
        stats.bootstrap_median([])
    with pytest.raises(ValueError, match="no complete round"):
        stats.paired_ratio([1.0], [1.0])
