"""A set of records is asked once: whatever table, effect or picture is made of it only reads the answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests import record_builder
from upbench.errors import UnknownName
from upbench.metrics import METRICS
from upbench.report.formats import render
from upbench.report.plots import request
from upbench.report.tables import (
    column_choice,
    columns,
    comparison,
    effect_cells,
    effects,
    grouping,
    pivot,
    published,
    relative,
    result_set,
    sweep,
)
from upbench.report.tables.result_set import ResultSet


def grid(**more: Any) -> list[record_builder.Record]:
    """Two axes; the second machine is a group of its own."""
    found = []
    for device in ("CPU a", "CPU b"):
        for n, theta in enumerate((5, 11)):
            for groups in (1, 2):
                axes = {"theta": theta, "groups": groups}
                found.append(
                    record_builder.record(axes=axes, cell=len(found), theta=theta, groups=groups, latency_s=0.01 + n / 1e5,
                                device=device, published="lda-aqu/table5", **more)
                )  # fmt: skip
    return found


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each question is answered from the records."""
    counted: Counter[str] = Counter()

    def count(module: Any, name: str) -> None:
        answer: Callable[..., Any] = getattr(module, name)

        def counting(*arguments: Any) -> Any:
            counted[name] += 1
            return answer(*arguments)

        monkeypatch.setattr(module, name, counting)

    for module, name in (
        (published, "columns_of"),
        (grouping, "by_machine"),
        (grouping, "context"),
        (relative, "parse"),
        (result_set, "told_apart"),
    ):
        count(module, name)
    return counted


def test_every_question_is_answered_once_for_all_tables_and_pictures(calls: Counter[str]) -> None:
    results = ResultSet.of(grid(), base="theta=11")
    shown = column_choice.pick("published,params,latency,peak-memory", results)
    text = render.markdown(sweep.sweep_table(results, "title", shown))
    assert "not told apart" in text
    render.markdown(pivot.pivot_table(results, "title", column_choice.pick("latency", results), "theta"))
    metrics = effect_cells.metric_columns(None, results)
    effects.effects_table(results, "title", metrics)
    effects.front_table(results, "title", metrics)
    request.plan(results, request.PlotOptions())
    pairs = calls.pop("told_apart")
    assert calls == {"columns_of": 1, "by_machine": 1, "context": 1, "parse": 1}
    assert 0 < pairs <= 16, "a cell with the fastest one and with its base row, once each"
    render.markdown(sweep.sweep_table(results, "title", shown))
    assert calls["told_apart"] == 0


def test_what_is_not_asked_is_not_computed(calls: Counter[str]) -> None:
    ResultSet.of(grid(), base="theta=99")
    assert not calls


def test_groups_rows_and_base_rows_are_of_one_machine() -> None:
    records = grid()
    results = ResultSet.of(records, base="theta=11")
    assert [len(group.records) for group in results.groups] == [4, 4]
    assert list(results.headings) == [0, 4]
    assert results.headings[4].startswith("CPU b")
    for record in results.rows:
        row = results.base_row(record)
        assert row is not None
        assert row.axes == {"theta": 11, "groups": record.axes["groups"]}
        assert row.environment.device == record.environment.device
    assert results.peers(records[0]) == results.peers(records[1]) != results.peers(records[-1])
    assert (results.varying, results.failed) == (["theta", "groups"], [])
    with pytest.raises(UnknownName, match="unknown value of theta '99'"):
        ResultSet.of(records, base="theta=99").base_row(records[0])


def test_differences_of_time_are_in_one_unit() -> None:
    times = {5: 0.0021, 7: 0.0009, 9: 0.0009004, 11: 0.00095}
    records = [record_builder.record(axes={"theta": n}, theta=n, latency_s=s, cell=n) for n, s in times.items()]
    records.append(record_builder.record(axes={"theta": 13}, cell=13, theta=13, status="oom", error="no memory"))
    results = ResultSet.of(records, base="theta=7")
    table = sweep.sweep_table(results, "title", column_choice.pick("params,latency,peak-memory", results))
    column = table.heads.index("Latency")
    assert [row[column] for row in table.rows] == ["+1.20 ms", "0.90 ms", "+0.000 ms", "+0.050 ms", "OOM"]


def test_failed_cells_are_told_from_measured_ones() -> None:
    results = ResultSet.of(
        [record_builder.record(axes={"theta": 5}), record_builder.record(axes={"theta": 7}, status="oom", error="x")]
    )
    assert results.failed == ["theta=7 (oom)"]
    assert [r.axes["theta"] for r in results.measured.records] == [5]


def test_a_summary_keeps_no_samples() -> None:
    record = record_builder.record(latency_s=[0.01, 0.02, 0.03, 0.04])
    assert METRICS["latency"].read(record) == 0.025
    low, high = METRICS["latency"].interval(record) or (0.0, 0.0)
    assert 0.01 <= low < 0.025 < high <= 0.04
    from upbench.records import readings

    hashes = [of for of, _ in readings._SUMMARIES if isinstance(of, bytes)]
    assert hashes
    assert all(len(key) == 16 for key in hashes)


def test_a_comparison_shows_the_ratio_with_its_interval_and_keeps_the_number() -> None:
    one, other = record_builder.record(latency_s=0.01, cell=1), record_builder.record("carafe", latency_s=0.02, cell=2)
    found = comparison.comparison_table([one, other], one, wanted="all")
    at = found.heads.index(f"Latency / {one.label}")
    assert [row[at].split(" ")[0] for row in found.rows] == ["1", "2.00x"]
    assert found.rows[0][at] == "1 (reference)"
    assert found.rows[1][at].endswith(")")
    assert found.raw_rows[1][found.raw_heads.index("latency_ratio")] == pytest.approx(2.0, rel=0.02)
    untimed = other.model_copy(update={"latency": None})
    assert comparison.comparison_table([one, untimed], one, wanted="all").rows[1][at] == "-"
    paper = comparison.comparison_table([one, other], one)
    assert [row[paper.heads.index(f"Latency / {one.label}")] for row in paper.rows] == ["1 (reference)", "2.00x SLOWER"]
    assert paper.headline.startswith(f"carafe takes 2.0x (2.0 to 2.0) the time of {one.label}")
    assert columns.ratio_to(one)[0].cell(untimed) == "-"


def test_a_ratio_of_few_rounds_has_a_verdict_where_it_is_a_factor() -> None:
    one = record_builder.record(latency_s=[0.2, 0.2, 0.201, 0.2])
    other = record_builder.record("bilinear", latency_s=[0.16, 0.16, 0.161, 0.16])
    said = comparison.comparison_table([one, other], one).headline
    assert "too few rounds" in said
    assert "not told apart" not in said
    fast = record_builder.record("bilinear", latency_s=[0.01, 0.01, 0.0101, 0.01, 0.01, 0.01])
    slow = record_builder.record(latency_s=[0.2, 0.2, 0.201, 0.2, 0.2, 0.2])
    assert comparison.comparison_table([slow, fast], slow).headline.startswith("bilinear is 20")


@pytest.mark.parametrize(("floor", "busy"), [(0.04, False), (5.44, True)])
def test_a_comparison_says_first_that_its_machine_was_busy(floor: float, busy: bool) -> None:
    records = [record_builder.record(latency_s=0.01 * n, cell=n, noise_floor=floor) for n in (1, 2)]
    shown = comparison.comparison_table(records, records[0])
    brief = shown.brief or []
    assert ("differed by 544.0 %" in brief[0]) is busy
    assert ("; try --threads 1." in brief[0]) is busy
    assert not any("try" in note for note in shown.with_notes("brief").exported())
    assert len(brief) <= 3


def test_two_sweeps_in_one_table_are_told_apart_by_what_differs() -> None:
    first = [record_builder.record(axes={"theta": n}, theta=n) for n in (5, 11)]
    other = record_builder.record("carafe", axes={"k_up": 5}, k_up=5, shape="8x6x5")
    assert [c.key for c in grouping.context(first, ["theta"])] == []
    assert [c.key for c in grouping.context([*first, other], ["theta", "k_up"])] == ["upsampler", "shape"]
    assert "upsampler" not in [c.key for c in grouping.context([*first, other], ["upsampler", "theta", "k_up"])]
