"""Tables, effects and fronts of records that were timed in passes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests import record_builder
from upbench import metrics
from upbench.analysis.passes import Levels
from upbench.analysis.stats import Verdict
from upbench.records.record import PassedRatio, Passes, Record, SweepInfo
from upbench.report.formats.table import Rank
from upbench.report.plots import footer, pareto, picture, quantities
from upbench.report.plots import request as picture_request
from upbench.report.tables import beaten, column_choice
from upbench.report.tables import effect_cells as cells
from upbench.report.tables import effects as effect_tables
from upbench.report.tables import notes as foot
from upbench.report.tables import sweep as sweep_table
from upbench.report.tables.pass_levels import PassLevels
from upbench.report.tables.result_set import ResultSet

REFERENCE_S = 0.074


def _records(rows: Sequence[Sequence[float]], sweep: str = "base") -> list[Record]:
    """A reference (theta=0) and one record for each row of levels, all in one block a pass."""
    levels = Levels(np.array(rows), np.tile(np.arange(len(rows[0])), (len(rows), 1)))
    found = [_record(0, None, None, sweep)]
    for n, row in enumerate(rows):
        ratio = levels.ratio(n)
        assert ratio is not None
        found.append(_record(n + 1, list(row), PassedRatio(value=ratio.value, low=ratio.low, high=ratio.high), sweep))
    return found


def _record(theta: int, levels: list[float] | None, ratio: PassedRatio | None, reference: str) -> Record:
    record = record_builder.record(axes={"theta": theta}, cell=theta, latency_s=0.05 + 0.01 * theta, theta=theta or 11)
    count = len(levels) if levels else 5
    passes = Passes(
        reference=[reference, "{}"],
        reference_s=REFERENCE_S,
        reference_low_s=0.061,
        reference_high_s=0.098,
        planned=5,
        numbers=list(range(count)),
        blocks=list(range(count)) if levels else [],
        levels=levels,
        rounds=[20] * count,
        ratio=ratio,
        clock="cpu",
        share=0.3,
        faults=0.0,
        allocator="kept",
    )
    assert record.latency is not None
    where = record.environment.model_copy(update={"load": 17.25})
    latency = record.latency.model_copy(update={"passes": passes})
    return record.model_copy(update={"environment": where, "latency": latency})


def _noise(cells_: int, sd: float = 0.01) -> np.ndarray:
    drawn = np.random.default_rng(1).normal(0, sd, (cells_ + 1, 5))
    return drawn[:-1] - drawn[-1]


def test_ms_are_the_ratio_times_the_references_median_whatever_the_samples_say() -> None:
    rows = _noise(3) + np.log([[0.9], [1.0], [1.2]])
    base, *others = _records(rows.tolist())
    shown = [metrics.latency_summary(record) for record in others]
    assert [s.median for s in shown if s] == pytest.approx([REFERENCE_S * math.exp(row.mean()) for row in rows])
    reference = metrics.latency_summary(base)
    assert reference is not None
    assert reference.median == REFERENCE_S
    column = metrics.METRICS["interval"]
    assert column.reader(base) is None, "a ratio to itself has no interval"
    assert column.reader(others[0]) > 0


def test_cells_are_told_apart_by_passes_and_never_across_references() -> None:
    same = _noise(2)
    one = ResultSet.of(_records([*same.tolist(), (same[0] + math.log(1.2)).tolist()]))
    base, a, b, slow = one.records
    assert not one.told_apart(a, b)
    assert not one.told_apart(a, base)
    assert one.told_apart(slow, a)
    assert one.verdict(slow, base) is Verdict.SLOWER
    elsewhere = _records((same + math.log(3)).tolist(), "elsewhere")
    both = ResultSet.of([*one.records, *elsewhere])
    assert both.verdict(elsewhere[1], a) is Verdict.UNSURE
    assert not both.told_apart(elsewhere[1], a)


def test_what_is_not_told_apart_has_no_effect_and_dominates_nothing() -> None:
    results = ResultSet.of(_records(_noise(5).tolist()))
    asked = cells.metric_columns("latency", results)
    assert beaten.of_rows(results, asked) == {n: ([], 0) for n in range(6)}
    faster = ResultSet.of(_records([*_noise(4).tolist(), (_noise(5)[4] - 0.3).tolist()]))
    assert beaten.of_rows(faster, asked) == {5: ([], 0), **{n: ([5], 1) for n in range(5)}}


def test_sweeps_in_one_table_have_a_noise_floor_each_and_every_row_its_upsampler() -> None:
    def of(sweep: str, noise: float, axes: dict[str, Any]) -> list[Record]:
        found = _records(_noise(1).tolist(), sweep)
        info = SweepInfo(name=sweep, title=sweep, published=None, cell=0)
        return [r.model_copy(update={"sweep": info, "noise_floor": noise, "axes": {**r.axes, **axes}}) for r in found]

    both = ResultSet.of([*of("one", 0.031, {}), *of("two", 0.012, {"upsampler": "ldaaqu"})])
    table = sweep_table.default_table(both, "Both")
    said = " ".join(table.brief or [])
    assert "noise floors 3.1 % (one), 1.2 % (two); a ratio is to the reference of its own sweep." in said
    at = table.heads.index("upsampler")
    assert [row[at] for row in table.rows] == ["ldaaqu"] * 4


@pytest.mark.parametrize(("floor", "advised"), [(8.333, True), (0.51, True), (0.49, False)])
def test_a_noise_floor_that_hides_everything_says_so_and_what_lowers_it(floor: float, advised: bool) -> None:
    rows = np.array([*_noise(2)]) + np.log([[1.0], [30.0]])
    found = [record.model_copy(update={"noise_floor": floor}) for record in _records(rows.tolist())]
    table = sweep_table.default_table(ResultSet.of(found), "t")
    for many in ("brief", "all"):
        said = " ".join(table.with_notes(many).notes)
        assert f"{floor:.1%}".replace("%", " %") in said
        assert ("cannot be told apart; take a larger budget or shape." in said) == advised


@pytest.mark.parametrize(
    ("machines", "said"), [(2, "; 1 other machine or version;"), (3, "; 2 other machines or versions;")]
)
def test_a_table_of_several_machines_counts_the_others(machines: int, said: str) -> None:
    found = [
        record.model_copy(update={"environment": record.environment.model_copy(update={"device": f"machine {n}"})})
        for n in range(machines)
        for record in _records(_noise(1).tolist(), f"sweep {n}")
    ]
    assert said in " ".join(sweep_table.default_table(ResultSet.of(found), "t").with_notes("brief").notes)


def test_an_effect_is_a_contrast_of_passes() -> None:
    rows = _noise(4)
    rows[2:] += math.log(1.3)
    records = _records(rows.tolist())
    found = PassLevels(records).effect([(records[3], records[1]), (records[4], records[2])])
    assert found is not None
    assert found.value == pytest.approx(1.3, rel=0.02)
    assert PassLevels(records).effect([(records[3], _records(rows.tolist(), "x")[1])]) is None


def test_the_note_below_effects_says_where_their_intervals_come_from() -> None:
    results = ResultSet.of(_records(_noise(3).tolist()))
    shown = effect_tables.effects_table(results, "t", cells.metric_columns("latency", results), None)
    assert any("in the same passes" in note for note in shown.notes)
    assert not any("resampled" in note for note in shown.notes)


def test_the_foot_says_what_the_reference_did_and_how_many_passes_there_are() -> None:
    (note,) = foot.samples(_records(_noise(2).tolist()))
    assert "74.0 ms (61.0 ms to 98.0 ms between passes)" in note
    assert "over 5 passes," in note
    assert "memory kept" in note
    (note,) = foot.samples([_stopped(one) for one in _records(_noise(2)[:, :3].tolist())[1:]])
    assert "over 3 of 5 passes, unfinished," in note


def _stopped(record: Record) -> Record:
    assert record.latency is not None
    return record.model_copy(update={"latency": record.latency.model_copy(update={"stopped": "interrupted"})})


def test_a_record_of_passes_is_read_as_it_was_written() -> None:
    from upbench.records import record

    for one in _records(_noise(1).tolist()):
        assert record.from_json(one.to_json(), "x") == one


def test_all_that_are_not_told_apart_from_the_best_are_best_and_where_all_are_none_is() -> None:
    rows = np.array([*_noise(4)]) + np.log([[1.0], [1.0], [1.2], [1.2]])
    results = ResultSet.of(_records(rows.tolist()))
    (column,) = cells.metric_columns("latency", results)
    assert [int(rank) for rank in sweep_table.ranks_of(results, column, results.rows)] == [1, 1, 1, 2, 2]
    same = ResultSet.of(_records(_noise(4).tolist()))
    assert not any(sweep_table.ranks_of(same, column, same.rows))


def test_a_machine_that_is_too_busy_to_say_anything_is_named_first() -> None:
    noisy = ResultSet.of(_records(_noise(4, 0.4).tolist()))
    shown = sweep_table.default_table(noisy, "t")
    assert shown.notes[0].startswith("The machine was too busy")
    (brief, *others) = shown.with_notes("brief").notes
    assert brief.startswith("The machine was too busy (load 17.2)")
    assert len(others) == 2
    assert "noise floor" in others[0]
    effects = effect_tables.effects_table(noisy, "t", cells.metric_columns("latency", noisy), None)
    front = effect_tables.front_table(noisy, "t", cells.metric_columns("latency,params", noisy))
    for one in (effects, front):
        for many in ("brief", "all"):
            said = [note for note in one.with_notes(many).notes if "too busy" in note]
            assert said == one.with_notes(many).notes[:1]
    assert "too busy" in footer.lines(noisy, [quantities.measured()["latency"]])[0]
    slow = ResultSet.of(_records([*_noise(4, 0.4).tolist(), (_noise(1)[0] + 2).tolist()]))
    assert not any("too busy" in note for note in sweep_table.default_table(slow, "t").notes)


def test_records_of_an_older_way_to_measure_say_so_also_when_they_stand_alone() -> None:
    records = [record_builder.record(axes={"theta": theta}, cell=theta, latency_s=0.05) for theta in (1, 2)]
    older = [
        one.model_copy(update={"environment": one.environment.model_copy(update={"measurement_version": 1})})
        for one in records
    ]
    shown = sweep_table.default_table(ResultSet.of(older), "t")
    assert any(note.startswith("Timed in an older way (measurement version 1, now 2): ") for note in shown.notes)
    assert shown.with_notes("brief").notes[-1].startswith("Timed in an older way (measurement version 1, now 2); ")
    now = sweep_table.default_table(ResultSet.of(_records(_noise(2).tolist())), "t")
    assert not any("older way" in note for note in now.notes)


def test_the_front_of_a_picture_is_decided_by_the_same_verdicts() -> None:
    known = quantities.measured()
    results = ResultSet.of(_records([*_noise(4).tolist(), (_noise(5)[4] + 0.3).tolist()]))
    latency = known["latency"]
    drawn = [pareto.Cell(str(n), p, p) for n, r in enumerate(results.rows) if (p := latency.read(r))]

    def judge(these: Sequence[int], b: int) -> list[Verdict]:
        return results.verdicts([results.rows[a] for a in these], results.rows[b])

    assert len(pareto.front(drawn, latency, latency)) == 1, "by values one is the fastest"
    assert sorted(pareto.front(drawn, latency, latency, judge)) == [0, 1, 2, 3, 4], "only the slow one is beaten"
    asked = picture_request.PlotOptions(picture_request.Kind.pareto, x="latency", y="params")
    shown = picture.draw(picture_request.plan(results, asked))
    assert any("on the front: " in said and said.count(";") == 4 for said in shown.messages)


@pytest.mark.parametrize(("base", "beside"), [("theta=0", False), ("theta=1", True)])
def test_a_table_of_differences_says_what_a_sign_means_and_what_ratios_are_to(base: str, beside: bool) -> None:
    records = _records([[0.1, 0.11, 0.1, 0.09, 0.1], [0.5, 0.51, 0.5, 0.49, 0.5]])
    results = ResultSet.of(records, base=base)
    table = sweep_table.sweep_table(results, "t", column_choice.pick("paper", results))
    for said in (table.brief, table.notes):
        text = " ".join(said)
        assert f"With a sign: the difference to the row with {base}" in text
        assert ("ratios are to the row marked as reference, not to that one" in text) is beside
    plain = sweep_table.default_table(ResultSet.of(records), "t")
    assert "With a sign" not in " ".join([*plain.brief, *plain.notes])


def _alone(theta: int, started: str, latency_s: float) -> Record:
    """A cell that `upbench profile` measured."""
    one = record_builder.record(cell=theta, theta=theta, sweep=False, latency_s=latency_s, params=10 * theta)
    return one.model_copy(update={"started": started})


def test_a_record_of_no_sweep_has_its_axes_and_its_time_is_compared_with_none() -> None:
    rows = _records([[0.9, 0.91, 0.9, 0.89, 0.9], [1.5, 1.51, 1.5, 1.49, 1.5]])
    results = ResultSet.of([*rows, _alone(13, "2026-01-01T00:00:00Z", 0.001)])
    table = sweep_table.sweep_table(results, "t", column_choice.pick("params,latency", results))
    assert [row[0] for row in table.rows] == ["0", "1", "2", "13"]
    assert [table.rank(m, 2) for m in range(4)] == [Rank.best, Rank.second, Rank.none, Rank.none]
    assert table.footnotes == ["timed in a run of its own: no time here is set against it"]
    assert (3, 2) in table.refs
    several = ResultSet.of([_alone(t, f"2026-01-01T00:00:0{t}Z", 0.01 * t) for t in (5, 7, 9)])
    alone = sweep_table.sweep_table(several, "t", column_choice.pick("params,latency", several))
    assert {rank for (_, column), rank in alone.ranks.items() if column == 2} == set(), "each is of a run of its own"
    assert not alone.footnotes


def _added_later(rows: Sequence[Record]) -> list[Record]:
    """The same cells under other axes, of a later run whose ratios do not continue those before."""
    found = []
    for n, row in enumerate(rows[1:], 10):
        assert row.latency is not None
        assert row.latency.passes is not None
        latency = row.latency.model_copy(update={"passes": row.latency.passes.model_copy(update={"series": 1})})
        found.append(row.model_copy(update={"axes": {"theta": n}, "latency": latency, "params": 500 * n}))
    return found


def test_what_is_counted_compares_with_cells_that_were_added_later_and_times_do_not() -> None:
    rows = _records([[0.9, 0.91, 0.9, 0.89, 0.9], [1.5, 1.51, 1.5, 1.49, 1.5]])
    results = ResultSet.of([*rows, *_added_later(rows)], base="theta=0")
    table = sweep_table.sweep_table(results, "t", column_choice.pick("params,latency", results))
    assert list(table.groups.values()) == ["Measured first", "Added later"]
    assert [m for m in range(5) if table.rank(m, 1) is Rank.best] == [0, 1, 2]
    assert [m for m in range(5) if table.rank(m, 2) is Rank.best] == [0, 3], "of each run"
    assert table.rows[3][1] == "+4.0K"
    assert table.rows[3][2].startswith("182"), "in full"
    assert "the base row was measured in another run" in " ".join(table.footnotes)
    assert table.brief is not None
    assert "Times and ratios of two groups do not compare; `upbench sweep --fresh` measures all" in table.brief[-1]
    assert "timed again beside them" in " ".join(table.notes)
    assert "--fresh" not in " ".join(table.exported())


def test_an_effect_of_times_of_two_runs_is_a_dash() -> None:
    results = ResultSet.of([*_records([[0.9, 0.91, 0.9, 0.89, 0.9]]), _alone(13, "2026-01-01T00:00:00Z", 0.001)])
    shown = effect_tables.effects_table(results, "t", cells.metric_columns("params,latency", results), None)
    assert shown.rows[-1][1] == "13"
    assert shown.rows[-1][4].endswith("x (-870)")
    assert shown.rows[-1][5:] == ["-", "UNSURE"]
