"""Levels, intervals and verdicts over passes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from upbench.analysis import conclusions, passes
from upbench.analysis.passes import Levels, PassRatio
from upbench.analysis.stats import Verdict
from upbench.analysis.student import two_sided_quantile

NAN = math.nan


def _levels(rows: list[list[float]], blocks: list[list[int]] | None = None, reference: int | None = None) -> Levels:
    values = np.array(rows)
    one_block_a_pass = np.tile(np.arange(values.shape[1]), (values.shape[0], 1))
    return Levels(values, one_block_a_pass if blocks is None else np.array(blocks), reference)


def _noise(cells: int, count: int, sd: float, seed: int = 0) -> np.ndarray:
    """Levels of identical cells: each pass has the noise of its reference in it."""
    drawn = np.random.default_rng(seed).normal(0, sd, (cells + 1, count))
    return drawn[:-1] - drawn[-1]


def test_the_interquartile_mean_leaves_out_a_quarter_at_each_end() -> None:
    assert passes.interquartile_mean([1, 2, 3, 4]) == 2.5
    assert passes.interquartile_mean([100, 2, 3, -50]) == 2.5
    assert passes.interquartile_mean([7]) == 7
    # five values: 0.75 of the second, the third, 0.75 of the fourth
    assert passes.interquartile_mean([0, 1, 2, 4, 100]) == pytest.approx((0.75 * 1 + 2 + 0.75 * 4) / 2.5)
    with pytest.raises(ValueError, match="no values"):
        passes.interquartile_mean([])


def test_a_level_is_of_the_log_ratio_of_whole_rounds_and_no_spike_moves_it() -> None:
    reference = [1.0, 3.0] * 10  # drift within each round cancels in the sums
    cell = [2 * s for s in reference]
    assert passes.level(cell, reference) == pytest.approx(math.log(2))
    cell[4] *= 50
    assert passes.level(cell, reference) == pytest.approx(math.log(2))
    assert passes.level([*cell, 9.0], reference) == pytest.approx(math.log(2)), "half a round does not count"
    with pytest.raises(ValueError, match="no values"):
        passes.level([1.0], [1.0])


def test_a_ratio_is_that_of_the_mean_level() -> None:
    found = _levels([[math.log(2)] * 5, [math.log(3)] * 5]).ratio(0)
    assert found is not None
    assert (found.value, found.passes) == (pytest.approx(2), 5)
    assert found.low == pytest.approx(2, rel=1e-6)


def test_the_moderated_interval_by_hand() -> None:
    """Three cells, three passes, one block a pass: the fit of cell and block by hand."""
    rows = np.array([[0.00, 0.02, 0.04], [0.10, 0.10, 0.16], [0.3, 0.2, 0.4]])
    levels = _levels(rows.tolist())
    rest = rows - rows.mean(0) - rows.mean(1, keepdims=True) + rows.mean()
    pooled = (rest**2).sum() / (2 * 2)
    prior_df, own_df = 2, 2  # four degrees in all, less the two of the contrast itself
    own = np.var(rows[0] - rows[1], ddof=1)
    half = two_sided_quantile(4) * math.sqrt((prior_df * 2 * pooled + own_df * own) / 4 / 3)
    found = levels.pair(0, 1)
    assert found is not None
    assert found.low is not None
    assert math.log(found.value) == pytest.approx((rows[0] - rows[1]).mean())
    assert math.log(found.value / found.low) == pytest.approx(half, rel=1e-6)


def test_what_the_reference_does_in_a_pass_cancels_between_cells_of_its_block() -> None:
    shared = np.array([0.3, -0.2, 0.1, 0.25, -0.3])
    levels = _levels([(shared + 0.10).tolist(), shared.tolist(), (shared + 0.02).tolist()])
    ratio, pair = levels.ratio(0), levels.pair(0, 1)
    assert pair is not None
    assert ratio is not None
    assert pair.half_width == pytest.approx(0, abs=1e-6)
    assert ratio.half_width is not None
    assert ratio.half_width > 0.1


def test_cells_of_different_blocks_have_the_noise_of_two_references() -> None:
    together = Levels(_noise(8, 5, 0.02), np.tile(np.arange(5), (8, 1)))
    apart = Levels(_noise(8, 5, 0.02), np.arange(40).reshape(8, 5))
    half = [
        np.mean([x.pair(a, b).half_width for a in range(8) for b in range(a)])  # type: ignore[union-attr]
        for x in (together, apart)
    ]
    assert half[1] > half[0]


def test_below_three_passes_there_is_a_value_and_no_verdict() -> None:
    levels = _levels([[0.7, 0.7, NAN, NAN, NAN], [0.0, 0.01, 0.0, 0.02, 0.0], [NAN] * 5])
    found = levels.ratio(0)
    assert found == PassRatio(pytest.approx(math.exp(0.7)), None, None, 2)
    assert found is not None
    assert found.verdict() is Verdict.UNSURE
    assert found.half_width is None
    assert levels.pair(0, 1) is not None
    assert levels.ratio(2) is None
    assert levels.pair(0, 2) is None


def test_a_cell_that_lost_two_passes_keeps_an_interval_of_three() -> None:
    rows = _noise(6, 5, 0.01)
    rows[0, 3:] = NAN
    levels = Levels(rows, np.tile(np.arange(5), (6, 1)))
    found = levels.pair(0, 1)
    assert found is not None
    assert found.passes == 3
    assert found.low is not None
    assert found.low < 1
    assert levels.passes(0) == 3


def test_the_reference_itself_has_ratio_one_and_its_pairs_are_the_others_ratios() -> None:
    rows = [[NAN] * 5, [0.1, 0.12, 0.1, 0.09, 0.1]]
    levels = _levels(rows, reference=0)
    assert levels.ratio(0) == PassRatio(1.0, 1.0, 1.0, 5)
    assert levels.pair(1, 0) == levels.ratio(1)
    both = levels.pair(0, 1)
    assert both is not None
    assert both.value == pytest.approx(1 / levels.ratio(1).value)  # type: ignore[union-attr]


def test_an_effect_is_the_contrast_of_mean_levels_in_each_pass() -> None:
    rows = _noise(6, 5, 0.01, seed=3)
    rows[3:] += math.log(1.5)
    levels = Levels(rows, np.tile(np.arange(5), (6, 1)))
    found = levels.effect([(3, 0), (4, 1), (5, 2)])
    assert found is not None
    assert found.value == pytest.approx(math.exp((rows[3:].mean(0) - rows[:3].mean(0)).mean()))
    assert found.told_apart()
    single = levels.pair(3, 0)
    assert single is not None
    assert found.half_width < single.half_width  # type: ignore[operator]
    assert levels.effect([]) is None


def test_a_pair_that_was_never_measured_does_not_take_the_effect_with_it() -> None:
    rows = _noise(4, 5, 0.01)
    rows[3] = NAN
    levels = Levels(rows, np.tile(np.arange(5), (4, 1)))
    assert levels.effect([(1, 0), (3, 2)]) == levels.effect([(1, 0)])


def test_the_verdict_is_that_of_every_comparison() -> None:
    assert PassRatio(1.08, 1.05, 1.11, 5).verdict() is Verdict.SLOWER
    assert PassRatio(1.08, 1.05, 1.11, 5).verdict(0.1) is Verdict.UNSURE
    assert PassRatio(0.90, 0.88, 0.92, 5).verdict() is Verdict.FASTER
    assert PassRatio(1.01, 0.99, 1.03, 5).verdict() is Verdict.SAME
    assert not PassRatio(1.01, 0.99, 1.03, 5).told_apart()


def test_the_resolution_is_the_further_end_of_the_twin() -> None:
    assert conclusions.resolution(PassRatio(1.0, 0.98, 1.01, 5)) == pytest.approx(1 / 0.98 - 1)
    assert conclusions.resolution(PassRatio(1.01, 0.99, 1.03, 5)) == pytest.approx(0.03)
    assert conclusions.resolution(PassRatio(1.0, None, None, 2)) is None
    assert conclusions.resolution(None) is None


def test_each_pass_of_the_reference_counts_alike() -> None:
    reference = conclusions.reference_times([[0.061] * 4, [0.098, 0.097], [0.074] * 50, []])
    assert reference == conclusions.ReferenceTimes(pytest.approx(0.074), 0.061, pytest.approx(0.0975))


@pytest.mark.parametrize(
    ("widths", "done", "spent_s", "more"),
    [
        ([0.001], 4, 100.0, True),  # the planned passes come first, whatever they cost
        ([0.03, 0.04, None], 5, 10.0, True),
        ([0.03, 0.01, 0.01], 5, 10.0, False),
        ([0.03, 0.04], 5, 19.0, False),  # the next one would pass the budget
        ([0.03, 0.04], 10, 10.0, False),
        ([None], 5, 10.0, False),
    ],
)
def test_more_passes_while_intervals_are_wide_and_budget_is_left(
    widths: list[float | None], done: int, spent_s: float, more: bool
) -> None:
    assert conclusions.wants_more_passes(widths, done, spent_s, 20.0) is more


def test_a_sweep_that_decides_nothing() -> None:
    wide = PassRatio(1.1, 0.9, 1.3, 5)
    assert conclusions.decides_nothing([(wide, 0.02), (wide, 0.02)])
    assert not conclusions.decides_nothing([(wide, 0.02), (PassRatio(1.5, 1.4, 1.6, 5), 0.02)])
    assert not conclusions.decides_nothing([(wide, 0.02), (PassRatio(1.0, 0.99, 1.01, 5), 0.0)])
    assert conclusions.decides_nothing([(PassRatio(1.0, 0.99, 1.01, 5), 0.2)])
    assert not conclusions.decides_nothing([])


def test_a_ratio_of_another_day_continues_the_old_one_or_not() -> None:
    before = PassRatio(1.10, 1.08, 1.12, 5)
    assert conclusions.continues(before, PassRatio(1.13, 1.0, 1.2, 5), 0.02)
    assert not conclusions.continues(before, PassRatio(1.20, 1.1, 1.3, 5), 0.02)
    assert conclusions.continues(PassRatio(1.1, None, None, 2), PassRatio(2.0, 1.9, 2.1, 5), 0.02)


def test_ten_thousand_cells_take_no_time() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 0.01, (10_000, 5))
    blocks = np.stack([rng.permutation(10_000) // 8 + 1250 * p for p in range(5)], axis=1)
    levels = Levels(rows, blocks)
    found = [levels.pair(n, 0) for n in range(0, 10_000, 50)]
    assert all(f is not None and f.passes == 5 for f in found)


def test_the_latency_of_one_upsampler_within_a_run() -> None:
    found = conclusions.within_run([[0.010, 0.010, 0.5], [0.011], [0.012, 0.012], []])
    logs = np.log([0.010, 0.011, 0.012])
    half = 4.302653 * logs.std(ddof=1) / math.sqrt(3)
    assert found.value_s == pytest.approx(math.exp(logs.mean()))
    assert (found.low_s, found.high_s) == pytest.approx(
        (found.value_s / math.exp(half), found.value_s * math.exp(half))
    )
    assert conclusions.within_run([[0.01], [0.01]]) == conclusions.PassLatency(pytest.approx(0.01), None, None, 2)
    with pytest.raises(ValueError, match="no samples"):
        conclusions.within_run([[]])


def test_many_verdicts_at_once_are_those_of_each_pair() -> None:
    drawn = np.random.default_rng(3)
    rows = drawn.normal(0, 0.02, (30, 5)) + drawn.choice([0, 0, 0.06, 0.1, -0.1], (30, 1))
    rows[drawn.random(rows.shape) < 0.15] = np.nan
    blocks = np.arange(5) * 10 + drawn.integers(0, 4, (30, 1))
    levels = Levels(rows, np.broadcast_to(blocks, rows.shape), reference=7)
    resolutions = drawn.choice([0.0, 0.03, 0.08], 30)
    seen = set()
    for other in (0, 7, 12):
        cells = np.array([n for n in range(30) if n != other])
        pairs = [levels.pair(int(n), other) for n in cells]
        wanted = [Verdict.UNSURE if p is None else p.verdict(resolutions[n]) for n, p in zip(cells, pairs, strict=True)]
        assert levels.verdicts(cells, other, resolutions[cells]) == wanted
        seen |= set(wanted)
    assert seen == set(Verdict)
