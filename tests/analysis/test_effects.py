"""Main effects against grids whose effects are known, domination against its definition, and the command."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import record_builder
from tests.command_line import refused, upbench
from tests.report.test_table import rows
from upbench.analysis import effects, stats
from upbench.analysis.effects import Candidate
from upbench.records.record import Record

AXES = {"a": (1, 2, 3), "b": ("x", "y"), "c": (True, False)}
GRID = [dict(zip(AXES, values, strict=True)) for values in itertools.product(*AXES.values())]
FACTOR = {"a": {1: 1.0, 2: 2.0, 3: 5.0}, "b": {"x": 1.0, "y": 1.5}, "c": {True: 1.0, False: 0.7}}


def product(cell: dict) -> float:
    return 10 * math.prod(FACTOR[name][value] for name, value in cell.items())


def test_a_grid_of_products_gives_each_factor_back() -> None:
    values = [product(cell) for cell in GRID]
    assert effects.is_full(GRID)
    for axis, levels in FACTOR.items():
        reference = effects.reference_level(GRID, axis)
        assert reference == AXES[axis][0]
        found = effects.main_effects(GRID, values, axis, reference)
        assert [e.level for e in found] == list(AXES[axis][1:])
        for one in found:
            factor = levels[one.level]
            assert one.ratio == pytest.approx(factor)
            assert (one.low, one.high) == (one.ratio, one.ratio)
            assert one.least == pytest.approx(factor)
            assert one.most == pytest.approx(factor)
            assert one.pairs == len(GRID) // len(AXES[axis])
            assert one.exact


def test_an_interaction_is_averaged_and_its_range_is_told() -> None:
    values = [product(cell) * (4.0 if cell["a"] == 2 and cell["b"] == "y" else 1.0) for cell in GRID]
    one = effects.main_effects(GRID, values, "a", 1)[0]
    assert one.ratio == pytest.approx(2 * math.sqrt(4))
    assert (one.least, one.most) == (pytest.approx(2), pytest.approx(8))


def test_around_a_base_effects_are_those_at_the_base() -> None:
    base = {"a": 2, "b": "x", "c": True}
    cells = [base, {**base, "a": 1}, {**base, "a": 3}, {**base, "b": "y"}, {**base, "c": False}]
    values = [product(cell) for cell in cells]
    assert not effects.is_full(cells)
    assert effects.reference_level(cells, "a") == 2
    assert [(e.level, e.pairs, e.ratio) for e in effects.main_effects(cells, values, "a", 2)] == [
        (1, 1, pytest.approx(0.5)),
        (3, 1, pytest.approx(2.5)),
    ]
    assert [e.ratio for e in effects.main_effects(cells, values, "b", "x")] == [pytest.approx(1.5)]


def test_cells_that_failed_leave_only_their_own_pairs_out() -> None:
    values: list[float | None] = [product(cell) for cell in GRID]
    values[GRID.index({"a": 2, "b": "x", "c": True})] = None
    two, three = effects.main_effects(GRID, values, "a", 1)
    assert (two.pairs, three.pairs) == (3, 4)
    assert two.ratio == pytest.approx(2)


def test_a_zero_has_a_difference_and_no_ratio() -> None:
    one = effects.main_effects([{"u": "nearest"}, {"u": "carafe"}], [0, 74148], "u", "nearest")[0]
    assert (one.ratio, one.low, one.least, one.difference) == (None, None, None, 74148)


def test_the_interval_of_a_timed_effect_holds_the_truth_about_as_often_as_it_says() -> None:
    held, widths = 0, []
    for trial in range(60):
        draw = np.random.default_rng(trial)
        values = [list(product(cell) * np.exp(0.05 * draw.normal(size=30))) for cell in GRID]
        one = effects.main_effects(GRID, values, "a", 1)[0]
        assert not one.exact
        assert one.low is not None
        assert one.high is not None
        held += one.low <= 2.0 <= one.high
        widths.append(one.high - one.low)
    assert 50 <= held <= 60
    assert 0.01 < float(np.median(widths)) < 0.1


def test_the_interval_of_two_equal_runs_is_not_a_point() -> None:
    same = record_builder.samples(0.01, spread=0.05)
    ratio = effects.unpaired_ratio(same, same)
    assert ratio.value == 1
    assert ratio.low < 0.995 < 1.005 < ratio.high
    with pytest.raises(ValueError, match="no samples"):
        effects.unpaired_ratio([], same)


def cheap(latency_s: float, spread: float = 0.001, seed: int = 0, **counted: float) -> Candidate:
    return Candidate(counted, {"t": record_builder.samples(latency_s, spread=spread, seed=seed)})


BETTER = {"t": "lower", "p": "lower", "ap": "higher"}


def test_domination_needs_every_metric_and_a_decided_latency() -> None:
    best = cheap(1.0, p=10, ap=40)
    slower, poorer, richer = cheap(1.5, p=10, ap=40), cheap(1.0, p=10, ap=39, seed=1), cheap(1.0, p=5, ap=39, seed=2)
    found = effects.dominated_by([best, slower, poorer, richer], BETTER, None)  # type: ignore[arg-type]
    assert found == [[], [0], [0, 3], []]
    noisy = Candidate({"p": 10, "ap": 30}, {"t": record_builder.samples(1.2, n=6, spread=0.5, seed=3)})
    said = effects.unpaired_ratio(best.timed["t"], noisy.timed["t"])
    assert stats.verdict(said) is stats.Verdict.UNSURE
    assert effects.dominated_by([best, noisy], BETTER, None) == [[], []]  # type: ignore[arg-type]
    assert effects.dominated_by([best, slower], BETTER, 0.6) == [[], []]  # type: ignore[arg-type]
    away = Candidate(slower.counted, slower.timed, "another machine")
    assert effects.dominated_by([best, away], BETTER, None) == [[], []]  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12))
def test_the_front_is_what_its_definition_says(points: list[tuple[int, int]]) -> None:
    cells = [Candidate({"p": p, "ap": ap}, {}) for p, ap in points]
    found = effects.dominated_by(cells, BETTER, None)  # type: ignore[arg-type]
    for n, (p, ap) in enumerate(points):
        expected = [m for m, (q, bp) in enumerate(points) if q <= p and bp >= ap and (q, bp) != (p, ap)]
        assert found[n] == expected
    assert [] in found


def grid_records(**more: object) -> list[Record]:
    return [
        record_builder.record(
            axes={"theta": t, "groups": g}, cell=10 * t + g, theta=t, groups=g,
            latency_s=0.01 * g * (1 + t / 10), params=1000 * g, published="lda-aqu/table5", **more,
        )
        for t in (5, 11)
        for g in (1, 2)
    ]  # fmt: skip


def test_the_command_prints_effects_with_intervals_and_verdicts(tmp_path: Path) -> None:
    file = record_builder.file(tmp_path / "r.jsonl", grid_records())
    result = upbench("effects", file, "--part", "effects", "--format", "markdown", "-v")
    assert result.exit_code == 0, result.output
    lines = [[c.strip() for c in line.split("|")[1:-1]] for line in result.stdout.splitlines() if line.startswith("|")]
    theta, groups = lines[2], lines[3]
    assert theta[:5] == ["theta", "11", "5", "2", "1.00x (+0)"]
    assert theta[6].startswith("1.40x (1.39-1.4")
    assert theta[-2:] == ["+0.5", "SLOWER"]
    assert groups[:5] == ["groups", "2", "1", "2", "2.00x (+1.0K)"]
    assert "full grid" in result.stdout
    assert "resampled on their own (1000 times)" in result.stdout
    turned = upbench("effects", file, "--part", "effects", "--format", "csv", "--base", "groups=2").stdout
    data = list(csv.DictReader(io.StringIO(turned)))
    one = next(r for r in data if r["axis"] == "groups" and r["metric"] == "params")
    assert (one["level"], one["reference"], one["ratio"], one["exact"]) == ("1", "2", "0.5", "True")
    latency = next(r for r in data if r["axis"] == "groups" and r["metric"] == "latency_median_s")
    assert float(latency["low"]) < 0.5 < float(latency["high"])
    assert latency["verdict"] == "FASTER"


def test_the_command_names_the_front_and_who_dominates(tmp_path: Path) -> None:
    records = [
        *grid_records(),
        record_builder.record(axes={"theta": 13, "groups": 2}, cell=200, status="oom", error="too big"),
    ]
    file = record_builder.file(tmp_path / "r.jsonl", records)
    result = upbench("effects", file, "--part", "front", "--format", "csv", "--metrics", "params,latency")
    found = {(r["theta"], r["groups"]): r for r in csv.DictReader(io.StringIO(result.stdout))}
    assert found["5", "1"]["on_front"] == "True"
    assert found["5", "2"]["dominated_by"] == "theta=5, groups=1; theta=11, groups=1"
    assert found["11", "1"]["dominated_by"] == "theta=5, groups=1"
    assert (found["13", "2"]["on_front"], found["13", "2"]["status"]) == ("", "oom")
    with_ap = upbench("effects", file, "--format", "json")
    main, front = json.loads(with_ap.stdout)["tables"]
    by = {(r["theta"], r["groups"]): r for r in front["rows"]}
    assert by[11, 2]["published_AP"] == 39.2
    # Only groups=2 is in the paper's table: the others have no accuracy and are left out of the comparison, in words.
    assert [by[t, 1]["on_front"] for t in (5, 11)] == [None, None]
    assert [by[t, 2]["on_front"] for t in (5, 11)] == [True, True]
    assert any("a metric is unknown here" in note["text"] for note in front["footnotes"])
    assert {r["metric"] for r in main["rows"]} >= {"params", "flops", "latency_median_s", "published_AP"}


def test_machines_are_kept_apart(tmp_path: Path) -> None:
    records = grid_records() + grid_records(device="Other CPU", torch="2.9")
    file = record_builder.file(tmp_path / "r.jsonl", records)
    main, front = json.loads(upbench("effects", file, "--metrics", "latency", "--format", "json").stdout)["tables"]
    assert [r["measured_on"] for r in main["rows"]] == ["Some CPU"] * 2 + ["Other CPU"] * 2
    assert sum(r["on_front"] for r in front["rows"]) == 2


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "html"])
def test_both_tables_in_every_format(tmp_path: Path, form: str) -> None:
    file = record_builder.file(tmp_path / "r.jsonl", grid_records())
    result = upbench("effects", file, "--format", form, "-v")
    assert result.exit_code == 0, result.output
    assert "main effects" in result.stdout
    assert "Pareto front" in result.stdout
    assert result.stdout.count("Measured on") == 1
    if form == "markdown":
        assert "theta" in rows(result.stdout)


def test_wrong_requests_are_refused_in_a_sentence(tmp_path: Path) -> None:
    file = record_builder.file(tmp_path / "r.jsonl", grid_records())
    assert "choose it with --part" in refused("effects", file, "--format", "csv")
    assert (
        "unknown metric 'speed'; known: params, macs-conv, macs-gather, macs-norm, macs-elementwise, macs, latency"
        in refused("effects", file, "--metrics", "speed")
    )
    assert "known: 5, 11" in refused("effects", file, "--base", "theta=6")
    one = record_builder.file(tmp_path / "one.jsonl", grid_records()[:1])
    assert "differ in one axis only" in refused("effects", one)


def test_effects_are_taken_against_a_level_that_was_measured(tmp_path: Path) -> None:
    """Though the first cell of the sweep ran out of memory."""
    first = record_builder.record(axes={"theta": 5}, theta=5, status="oom", error="too big")
    cells = [record_builder.record(axes={"theta": t}, cell=t, theta=t, latency_s=0.01 * t) for t in (7, 11)]
    file = record_builder.file(tmp_path / "r.jsonl", [first, *cells])
    text = upbench("effects", file, "--format", "csv", "--part", "effects").stdout
    found = [r for r in csv.DictReader(io.StringIO(text)) if r["metric"] == "latency_median_s"]
    assert [(r["level"], r["reference"]) for r in found] == [("11", "7")]
    assert "no two measured cells" in refused("effects", file, "--base", "theta=5")
