"""Statistics of known samples."""

import pytest

from upbench.analysis import stats


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


@pytest.mark.parametrize(
    ("ratio", "resolution", "expected"),
    [
        ((1.00, 0.99, 1.01), 0.0, "SAME"),
        ((1.10, 1.08, 1.12), 0.0, "SLOWER"),
        ((0.90, 0.88, 0.92), 0.0, "FASTER"),
        ((1.10, 1.01, 1.20), 0.0, "UNSURE"),
        ((1.03, 1.025, 1.035), 0.0, "SAME"),
        ((1.00, 0.80, 1.20), 0.0, "UNSURE"),
        ((1.08, 1.06, 1.09), 0.10, "UNSURE"),
        ((1.00, 0.99, 1.01), 0.10, "UNSURE"),
        ((1.00, 0.99, 1.01), 0.05, "SAME"),
        ((1.08, 1.06, 1.09), 0.07, "UNSURE"),
        ((1.20, 1.15, 1.25), 0.10, "SLOWER"),
    ],
)
def test_verdicts(ratio: tuple[float, float, float], resolution: float, expected: str) -> None:
    assert stats.verdict(stats.Ratio(*ratio, rounds=9), resolution) == expected


def test_verdicts_are_symmetric() -> None:
    """Of two upsamplers one is FASTER exactly when the other is SLOWER."""
    for value, low, high in [(1.2, 1.1, 1.3), (1.06, 1.03, 1.09), (1.06, 1.01, 1.1), (1.0, 0.97, 1.02)]:
        forward = stats.verdict(stats.Ratio(value, low, high, 9))
        back = stats.verdict(stats.Ratio(1 / value, 1 / high, 1 / low, 9))
        assert {"SLOWER": "FASTER"}.get(forward, forward) == back


def test_outliers_are_named_not_removed() -> None:
    samples = [1.0, 1.1, 0.9, 1.05, 0.95, 9.0, 1.0]
    assert stats.outliers(samples) == [5]
    assert stats.outliers([1.0] * 5 + [2.0]) == []


def test_plateau_needs_three_looks_without_gain() -> None:
    assert not stats.plateau([0.5, 0.4, 0.3])
    assert not stats.plateau([0.50, 0.40, 0.32, 0.26])
    assert stats.plateau([0.50, 0.50, 0.49, 0.50])


def test_resolution_is_what_chance_made_of_equals() -> None:
    assert stats.noise_floor(stats.Ratio(1.01, 0.99, 1.04, 9)) == pytest.approx(0.04)
    assert stats.noise_floor(stats.Ratio(0.98, 0.95, 1.01, 9)) == pytest.approx(1 / 0.95 - 1)
