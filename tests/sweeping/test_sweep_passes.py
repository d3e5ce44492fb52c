"""A sweep in blocks and passes, with workers of their own: what is written, and what kills, crashes and hangs cost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import upbench
from upbench.analysis.stats import Verdict
from upbench.machine import allocator
from upbench.records import pass_store, store
from upbench.report.tables.result_set import ResultSet
from upbench.sweeping import expand
from upbench.sweeping import runner as sweep


def _run(
    tmp_path: Path, data: dict[str, Any], notice: Callable[[str], None] = lambda sentence: None, **options: Any
) -> sweep.Outcome:
    plan = expand.load(data, "test")
    cells = expand.expand(plan, "test")
    path = tmp_path / f"{plan.name}.jsonl"
    chosen = sweep.Options(**options)
    with sweep.crew(cells, chosen) as crew:
        return sweep.run_cells(
            cells, plan, path, store.index(path), crew, chosen, lambda what, part, left: None, notice
        )


THETA = {
    "name": "theta",
    "base": {"upsampler": "ldaaqu", "scale": 2, "params": {"theta": 11}},
    "input": {"shape": "32x8x8"},
    "measure": {"budget": 0.2, "device": "cpu", "threads": 1},
    "grid": {"theta": [5, 11, 13]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("theta")


@pytest.fixture
def theta(folder: Path, tmp_path: Path) -> Path:
    """A folder with the files of THETA, which is measured once."""
    if not (folder / "whole").exists():
        outcome = _run(folder, THETA)
        assert set(outcome.status.values()) == {"ok"}
        (folder / "whole").touch()
    for name in ("theta.jsonl", "theta.passes.jsonl"):
        shutil.copy(folder / name, tmp_path)
    return tmp_path


def _last(path: Path) -> dict[Any, Any]:
    return {record.axes["theta"]: record for record in store.current(store.load(path).records)}


def test_every_cell_has_its_passes_and_a_record_of_them(theta: Path) -> None:
    (group,) = pass_store.index(theta / "theta.passes.jsonl").groups.values()
    assert json.loads(group.reference[1]) == {"theta": 11}, "the base is what the others are set against"
    assert len(group.entries) == 2
    assert {number for row in group.entries for number in row} >= set(range(5))
    assert len(group.twin) >= 5
    records = _last(theta / "theta.jsonl")
    assert set(records) == {5, 11, 13}
    assert all(record.latency and record.macs and record.memory for record in records.values())
    assert all(record.latency.clock.startswith("thread CPU") for record in records.values())
    assert all(record.noise_floor is not None for record in records.values())


def test_a_finished_sweep_is_not_measured_again(theta: Path) -> None:
    before = (theta / "theta.passes.jsonl").read_bytes()
    _run(theta, THETA)
    assert len((theta / "theta.passes.jsonl").read_bytes()) - len(before) == 0


def test_what_a_kill_left_is_timed_and_nothing_twice(theta: Path) -> None:
    file, results = theta / "theta.passes.jsonl", theta / "theta.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    assert [json.loads(line)["schema"] for line in lines[:4]] == ["counted 1"] * 3 + ["pass 1"]
    file.write_bytes(b"".join(lines[:6]) + lines[6][:100])
    results.unlink()
    _run(theta, THETA)
    index = pass_store.index(file)
    seen = [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")]
    pairs = [(cell["key"], cell["role"], line["pass"]) for line in seen for cell in line.get("cells", ())]
    assert len(pairs) == len(set(pairs))
    assert len(index.skipped) == 1
    (group,) = index.groups.values()
    assert all(set(range(5)) <= set(row) for row in group.entries)
    records = store.load(results).records
    assert [record.axes["theta"] for record in records] == [5, 11, 13], "one record a cell"
    assert all(record.latency for record in records)


def test_records_are_made_of_passes_without_measuring(theta: Path) -> None:
    file, results = theta / "theta.passes.jsonl", theta / "theta.jsonl"
    before, passes = results.read_bytes(), file.read_bytes()
    results.write_bytes(before[: before.index(b"\n") + 1])
    _run(theta, THETA)
    assert file.read_bytes() == passes
    assert results.read_bytes() == before


def test_cells_that_are_added_are_timed_beside_the_same_reference(theta: Path) -> None:
    twins = (theta / "theta.passes.jsonl").read_text().count('"role":"twin"')
    _run(theta, {**THETA, "grid": {"theta": [5, 9, 11, 13]}})
    assert (theta / "theta.passes.jsonl").read_text().count('"role":"twin"') >= twins + 5, "the twin is timed again"
    (group,) = pass_store.index(theta / "theta.passes.jsonl").groups.values()
    assert sorted(json.loads(axes)["theta"] for _, axes in group.numbers) == [5, 9, 13]
    assert sorted(json.loads(axes)["theta"] for _, axes in group.bridges) == [5, 13], (
        "two finished cells are timed again"
    )
    assert all(len(row) >= 5 for row in group.bridges.values())
    assert [record.axes["theta"] for record in store.load(theta / "theta.jsonl").records] == [5, 11, 13, 9]
    records = _last(theta / "theta.jsonl")
    passes = [record.latency.passes for record in records.values()]
    assert len({one.reference_s for one in passes}) == 1, "what is printed in ms is of one reference"


MODULE = """
import os, time, torch
from pathlib import Path

class Sometimes(torch.nn.Module):
    def __init__(self, channels, scale, how="none"):
        super().__init__()
        self.how = how
        self.built = len(os.listdir(os.environ["BUILT"])) if how != "none" else 0
        if how != "none":
            Path(os.environ["BUILT"], f"{how}-{time.time_ns()}").touch()

    def forward(self, x):
        if self.how != "none" and self.built > int(os.environ["AFTER"]) and not torch.jit.is_tracing():
            if self.how == "crash":
                os.abort()
            if self.how == "hang":
                time.sleep(1000)
            raise MemoryError("no more")
        return torch.nn.functional.interpolate(x, scale_factor=2)
"""


@pytest.mark.parametrize(
    ("how", "after", "status"), [("crash", 3, "crashed"), ("hang", 3, "timeout"), ("oom", 3, "oom"), ("oom", 5, "ok")]
)
def test_one_bad_cell_costs_itself_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, after: int, status: str
) -> None:
    (tmp_path / "sometimes.py").write_text(MODULE)
    built = tmp_path / "built"
    built.mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("BUILT", str(built))
    monkeypatch.setenv("AFTER", str(after))  # it is built twice to be counted, then once a pass
    data = {
        "name": "bad",
        "base": {"upsampler": "sometimes:Sometimes", "scale": 2, "params": {"how": "none"}},
        "input": {"shape": "8x8x8"},
        "measure": {"budget": 0.1, "device": "cpu", "threads": 1},
        "cells": [{"how": "none", "seed": 0}, {"how": "none", "seed": 1}, {"how": how, "seed": 0}],
    }
    # Long enough for a first count on a busy machine by a worker that has imported torch; the hang is waited for twice.
    outcome = _run(tmp_path, data, timeout_s=6.0 if how == "hang" else None)
    assert [outcome.status[n] for n in range(3)] == ["ok", "ok", status]
    (group,) = pass_store.index(tmp_path / "bad.passes.jsonl").groups.values()
    whole = [row for row in group.entries if len(row) >= 5]
    assert len(whole) == 1, "the good cell beside the reference has all passes"
    written = store.load(tmp_path / "bad.jsonl").records
    records = {record.sweep.cell: record for record in written if record.sweep}
    assert len(records) == len(written) == 3
    assert records[1].latency is not None
    if status == "ok":
        assert any("it failed in pass 5" in warning for warning in records[2].warnings)
        assert records[2].latency is not None
    else:
        assert records[2].error


def test_a_new_reference_has_the_finished_cells_timed_again(theta: Path) -> None:
    said: list[str] = []
    _run(theta, {**THETA, "base": {**THETA["base"], "params": {"theta": 9}}, "grid": {"theta": [5, 9]}}, said.append)
    assert "is a new reference; 1 finished cell is timed again beside it" in " ".join(said)
    records = _last(theta / "theta.jsonl")
    assert set(records) == {5, 9, 11, 13}
    assert json.loads(records[5].latency.passes.reference[1]) == {"theta": 9}
    assert json.loads(records[13].latency.passes.reference[1]) == {"theta": 11}


@pytest.mark.usefixtures("started_workers")
@pytest.mark.skipif(not allocator.trim(), reason="malloc is not glibc's, which alone can be pinned")
def test_an_allocator_is_an_axis_whose_levels_are_measured_in_workers_of_their_own_and_never_told_apart(
    tmp_path: Path,
) -> None:
    data = {
        "name": "memory",
        "base": {"upsampler": "carafe", "scale": 2},
        "input": {"shape": "16x32x32"},
        "measure": {"budget": 0.1, "device": "cpu", "threads": 1},
        "grid": {"allocator": ["kept", "returned"]},
    }
    outcome = _run(tmp_path, data)
    assert set(outcome.status.values()) == {"ok"}
    records = store.current(store.load(tmp_path / "memory.jsonl").records)
    found = {record.axes["allocator"]: record.latency.passes for record in records if record.latency}
    assert {level: passes.allocator for level, passes in found.items() if passes} == {
        "kept": "kept",
        "returned": "returned",
    }
    assert found["kept"] is not None
    assert found["returned"] is not None
    assert found["kept"].faults == 0 < (found["returned"].faults or 0)
    results = ResultSet.of(records)
    assert [group.heading.rpartition(", ")[2] for group in results.groups] == ["memory kept", "memory returned"]
    assert results.verdict(*records) is Verdict.UNSURE
    assert not results.told_apart(*records)


def test_rows_that_do_not_continue_those_before_stand_apart(theta: Path) -> None:
    file = theta / "theta.passes.jsonl"
    # As if another day had made the cells twice as fast: their times before are doubled, those of the reference not.
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        for cell in line.get("cells", ()):
            if cell["role"] == "cell":
                cell["cpu_s"] = [2 * value for value in cell["cpu_s"]]
                cell["wall_s"] = [2 * value for value in cell["wall_s"]]
    file.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    _run(theta, {**THETA, "grid": {"theta": [5, 9, 11, 13]}})
    records = _last(theta / "theta.jsonl")
    assert {theta: record.latency.passes.series for theta, record in records.items()} == {5: 0, 11: 0, 13: 0, 9: 1}
    assert any("cells were added later" in warning for warning in records[9].warnings)
    table = upbench("table", theta / "theta.jsonl", "--format", "markdown", "--verbose")
    assert table.exit_code == 0, (table.stderr, table.exception)
    shown = table.stdout
    assert "Added later" in shown
    assert "Rows that a later run added stand in a group of their own" in shown
    assert "the machine or the versions differ" not in shown
    results = ResultSet.of(list(records.values()))
    assert results.verdict(records[9], records[13]) is Verdict.UNSURE
    _run(theta, {**THETA, "grid": {"theta": [5, 7, 9, 11, 13]}})
    assert _last(theta / "theta.jsonl")[7].latency.passes.series >= 1, "it is of the later rows, or of still later ones"
