"""Passes files: lines, torn lines, the index and what records take from it."""

from __future__ import annotations

import json
import math
import tracemalloc
from pathlib import Path

import pytest

from upbench.errors import OutputError, StoreError
from upbench.records import json_lines, pass_lines, pass_store
from upbench.records.pass_lines import BlockLine, Clock, Role, Timed


def _timed(
    name: str, takes_s: float, role: Role = "cell", clock: Clock = "cpu", rounds: int = 5, status: str = "ok"
) -> Timed:
    samples = [takes_s] * (2 * rounds) if status == "ok" else []
    return Timed(
        key=name,
        axes={"theta": name},
        role=role,
        status=status,
        error=None if status == "ok" else "no memory",
        clock=clock,
        cpu_s=samples,
        wall_s=[3 * s for s in samples],
        faults=0.0,
    )


def _line(number: int, cells: list[Timed], block: int = 0, takes_s: float = 0.01, run: str = "a") -> BlockLine:
    return BlockLine(
        run=run,
        pass_number=number,
        block=block,
        started="2026-01-01T00:00:00Z",
        allocator="kept",
        load=2.5,
        reference=_timed("base", takes_s),
        cells=cells,
    )


def _sweep(path: Path, passes: int = 5) -> None:
    for number in range(passes):
        drift = 1 + 0.2 * number
        pass_lines.append(
            path,
            _line(
                number,
                [
                    _timed("a", 0.02 * drift * (1 + 0.001 * number)),
                    _timed("b", 0.03 * drift),
                    _timed("base", 0.01 * drift, "twin"),
                ],
                takes_s=0.01 * drift,
            ),
        )


def test_a_line_is_read_as_it_was_written(tmp_path: Path) -> None:
    path, line = tmp_path / "s.passes.jsonl", _line(3, [_timed("a", 0.0123456789)])
    pass_lines.append(path, line)
    text = path.read_text()
    assert pass_lines.from_json(text, "x") == line
    assert text.count("\n") == 1
    assert json.loads(text)["schema"] == "pass 1"
    assert json.loads(text)["pass"] == 3


def test_levels_cancel_the_drift_and_the_twin_shows_the_resolution(tmp_path: Path) -> None:
    path = tmp_path / "s.passes.jsonl"
    _sweep(path)
    (group,) = pass_store.index(path).groups.values()
    levels = group.levels()
    a, b = (levels.ratio(group.numbers[_timed(name, 1).identity]) for name in "ab")
    assert a is not None
    assert b is not None
    assert a.value == pytest.approx(2.004, abs=1e-3)
    assert b.value == pytest.approx(3)
    assert a.passes == 5
    assert group.resolution(levels) == pytest.approx(0, abs=1e-3)
    times = group.reference_times()
    assert (times.low_s, times.median_s, times.high_s) == pytest.approx((0.01, 0.014, 0.018))
    assert group.done() == {(n, number) for n in range(2) for number in range(5)}
    assert group.loads == [2.5] * 5


def test_a_torn_line_costs_one_block_in_one_pass(tmp_path: Path) -> None:
    path = tmp_path / "s.passes.jsonl"
    _sweep(path, 3)
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])  # killed in a write
    index = pass_store.index(path)
    (group,) = index.groups.values()
    assert "line 3" in index.skipped[0]
    assert "torn" in index.skipped[0]
    assert group.done() == {(n, number) for n in range(2) for number in range(2)}
    pass_lines.append(path, _line(2, [_timed("a", 0.02), _timed("b", 0.03), _timed("base", 0.01, "twin")]))
    index = pass_store.index(path)
    (group,) = index.groups.values()
    assert len(index.skipped) == 1, "the torn line stays, and the new one begins after it"
    assert group.done() == {(n, number) for n in range(2) for number in range(3)}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "torn"),
        ("[1]", "schema"),
        ('{"schema": 1}', "schema"),
        ('{"schema": "pass 1", "pass": 1}', "not a block of upbench (run"),
    ],
)
def test_what_is_no_block_is_named_and_skipped(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "s.passes.jsonl"
    path.write_text(text + "\n\n")
    index = pass_store.index(path)
    assert index.groups == {}
    assert why in index.skipped[0]
    with pytest.raises(StoreError):
        pass_lines.from_json(text, "here")


def test_failures_are_kept_apart(tmp_path: Path) -> None:
    path = tmp_path / "s.passes.jsonl"
    pass_lines.append(path, _line(0, [_timed("a", 0.02), _timed("b", 1, status="oom")]))
    index = pass_store.index(path)
    (group,) = index.groups.values()
    assert index.failures == {_timed("b", 1).identity: ("oom", "no memory")}
    assert list(group.numbers) == [_timed("a", 1).identity]


def test_a_clock_is_settled_once_for_all_passes_of_a_cell(tmp_path: Path) -> None:
    path = tmp_path / "s.passes.jsonl"
    for number in range(5):
        often = _timed("a", 0.02, clock="wall" if number else "cpu")
        seldom = _timed("b", 0.02, clock="cpu" if number else "wall")
        pass_lines.append(path, _line(number, [often, seldom]))
    (group,) = pass_store.index(path).groups.values()
    levels = group.levels()
    a, b = (pass_store.cell_times(path, group, _timed(name, 1).identity, levels) for name in "ab")
    assert a is not None
    assert b is not None
    assert (a.clock, b.clock) == ("wall", "cpu")
    assert a.samples_s == pytest.approx([0.06] * 50)
    assert b.samples_s == pytest.approx([0.02] * 50)


def test_a_reference_on_wall_time_takes_all_cells_with_it(tmp_path: Path) -> None:
    path = tmp_path / "s.passes.jsonl"
    for number in range(3):
        line = _line(number, [_timed("a", 0.02)])
        pass_lines.append(path, line.model_copy(update={"reference": _timed("base", 0.01, clock="wall")}))
    (group,) = pass_store.index(path).groups.values()
    assert group.clock(group.entries[0]) == "wall"
    assert group.reference_times().median_s == pytest.approx(0.03)


def test_what_a_record_takes_from_the_passes(tmp_path: Path) -> None:
    path = tmp_path / "s.passes.jsonl"
    _sweep(path)
    (group,) = pass_store.index(path).groups.values()
    levels = group.levels()
    found = pass_store.cell_times(path, group, _timed("b", 1).identity, levels)
    assert found is not None
    assert found.rounds_of_pass == [5] * 5
    assert found.passes == [0, 1, 2, 3, 4]
    assert found.samples_s[:10] == pytest.approx([0.03] * 10)
    assert len(found.samples_s) == 50
    assert found.share == pytest.approx(1 / 3)
    assert (found.faults, found.allocators, found.clock) == (0.0, ["kept"], "cpu")
    assert found.ratio == levels.ratio(1)
    base = pass_store.cell_times(path, group, group.reference, levels)
    assert base is not None
    assert base.ratio is None
    assert base.samples_s[:10] == pytest.approx([0.01] * 10)
    assert pass_store.cell_times(path, group, ("unknown", "{}"), levels) is None


def test_another_machine_is_another_group(tmp_path: Path) -> None:
    path = tmp_path / "s.passes.jsonl"
    _sweep(path, 3)
    line = _line(0, [_timed("a", 0.02)])
    pass_lines.append(path, line.model_copy(update={"reference": _timed("elsewhere", 0.01)}))
    groups = pass_store.index(path).groups
    assert [len(group.entries) for group in groups.values()] == [2, 1]


def test_bridges_are_no_passes_of_their_cell(tmp_path: Path) -> None:
    path = tmp_path / "s.passes.jsonl"
    _sweep(path, 5)
    pass_lines.append(path, _line(0, [_timed("a", 0.09, "bridge"), _timed("c", 0.05)], run="b"))
    (group,) = pass_store.index(path).groups.values()
    identity = _timed("a", 1).identity
    assert group.levels().ratio(group.numbers[identity]).value == pytest.approx(2, abs=0.01)  # type: ignore[union-attr]
    assert math.exp(group.bridges[identity][0].cpu_level) == pytest.approx(9)


def test_no_file_is_an_empty_index(tmp_path: Path) -> None:
    assert pass_store.index(tmp_path / "none") == pass_store.PassIndex()
    with pytest.raises(StoreError, match="cannot be read"):
        pass_store.index(tmp_path)
    with pytest.raises(OutputError, match="cannot be written"):
        json_lines.append(tmp_path, "x")
    with pytest.raises(StoreError, match="cannot be read"):
        json_lines.read_at(tmp_path / "none", 0)


def test_the_index_is_flat_in_the_number_of_samples(tmp_path: Path) -> None:
    """Forty times the samples make a file many times as long and no larger an index."""

    def held(rounds: int) -> tuple[int, int]:
        path = tmp_path / f"{rounds}.jsonl"
        for number in range(3):
            cells = [_timed(f"cell {n}", 0.02, rounds=rounds) for n in range(16)]
            pass_lines.append(
                path, _line(number, cells).model_copy(update={"reference": _timed("r", 1, rounds=rounds)})
            )
        tracemalloc.start()
        index = pass_store.index(path)
        now, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(index.groups) == 1
        return path.stat().st_size, now

    few, many = held(5), held(200)
    assert many[0] > 10 * few[0]
    assert many[1] < 1.3 * few[1]
