"""Blocks as jobs: what is written, what failures change, and when more passes follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from upbench.records import pass_lines, pass_store
from upbench.sweeping.lanes import Job
from upbench.sweeping.pass_source import Member, PassSource
from upbench.sweeping.schedule import ReferenceFailed, Schedule, Weight
from upbench.sweeping.worker import Message

REFERENCE = Member("base", {"theta": 11}, {"upsampler": "ldaaqu"})


def _source(tmp_path: Path, cells: int = 10, **given: Any) -> PassSource:
    members = {n: Member(f"k{n}", {"theta": n}, {"n": n}, label=f"theta={n}") for n in range(cells)}
    members[cells] = Member("base", {"theta": 11}, {}, "twin", "twin")
    schedule = Schedule({n: Weight(0.005) for n in members}, "s", given.pop("passes", 5))
    return PassSource(schedule, members, REFERENCE, tmp_path / "s.passes.jsonl", "run", 0.4, **given)


def _timed(member: Message, **given: Any) -> Message:
    samples = [] if given else [0.01] * 10
    return {
        **{key: member[key] for key in ("key", "axes", "role")},
        "clock": "cpu",
        "cpu_s": samples,
        "wall_s": samples,
        "faults": 0,
        **given,
    }


def _answer(job: Job, failing: str | None = None) -> Message:
    block = job.message["block"]
    cells = [
        _timed(one, status="oom", error="no memory") if one["key"] == failing else _timed(one) for one in block["cells"]
    ]
    return {"reference": _timed(block["reference"]), "cells": cells, "started": "now", "allocator": "kept"}


def _drain(source: PassSource, failing: str | None = None) -> int:
    count = 0
    while job := source.next_job("cpu"):
        source.progressed(job, 0.0)
        source.answered(job, "cpu", _answer(job, failing), 1.0)
        count += 1
    return count


def test_every_cell_and_the_twin_have_a_line_in_every_pass(tmp_path: Path) -> None:
    source = _source(tmp_path)
    assert _drain(source) == 10
    index = pass_store.index(source.path)
    (group,) = index.groups.values()
    assert group.done() == {(n, number) for n in range(10) for number in range(5)}
    assert len(group.twin) == 5
    assert index.skipped == []
    assert group.loads


def test_more_passes_are_asked_for_when_all_are_whole(tmp_path: Path) -> None:
    asked: list[int] = []

    def more(passes: int) -> bool:
        asked.append(passes)
        return passes < 7

    source = _source(tmp_path, more=more)
    _drain(source)
    assert asked == [5, 6, 7]
    (group,) = pass_store.index(source.path).groups.values()
    assert {number for _, number in group.done()} == set(range(7))


def test_no_pass_is_added_while_one_is_running(tmp_path: Path) -> None:
    source = _source(tmp_path, cells=3, passes=1, more=lambda passes: passes < 2)
    job = source.next_job("cuda:0")
    assert job is not None
    assert source.next_job("cuda:1") is None
    source.answered(job, "cuda:0", _answer(job), 1.0)
    assert source.next_job("cuda:1") is not None


def test_a_cell_that_fails_is_kept_with_its_reason(tmp_path: Path) -> None:
    source = _source(tmp_path)
    _drain(source, "k3")
    index = pass_store.index(source.path)
    assert index.failures[pass_lines.identity("k3", {"theta": 3})] == ("oom", "no memory")
    assert source.schedule.failed[3].status == "oom"
    assert source.schedule.passes_of(4) == 5


def test_the_cell_that_was_announced_goes_alone_in_a_new_worker(tmp_path: Path) -> None:
    source = _source(tmp_path)
    job = source.next_job("cpu")
    assert job is not None
    victim = job.content.cells[1]
    source.lost(job, "cpu", "crashed", "SIGSEGV", 2)
    assert source.schedule.alone == {victim}
    jobs = [source.next_job("cpu"), source.next_job("cpu")]
    assert [one.content.cells for one in jobs if one][1] == (victim,)
    assert [one.fresh for one in jobs if one] == [False, True]
    assert not source.path.exists()


@pytest.mark.parametrize("said", [0, None])
def test_a_reference_that_dies_twice_ends_the_sweep(tmp_path: Path, said: int | None) -> None:
    source = _source(tmp_path)
    job = source.next_job("cpu")
    assert job is not None
    source.lost(job, "cpu", "crashed", "SIGSEGV", said)
    again = source.next_job("cpu")
    assert again is not None
    with pytest.raises(ReferenceFailed, match="no memory"):
        source.answered(again, "cpu", {"status": "oom", "error": "no memory"}, 1.0)


def test_long_sweeps_get_a_worker_for_every_pass(tmp_path: Path) -> None:
    fresh: list[bool] = []
    source = _source(tmp_path, cells=5, passes=3, expected_s=1000.0)
    while job := source.next_job("cpu"):
        fresh.append(job.fresh)
        source.answered(job, "cpu", _answer(job), 1.0)
    assert fresh == [False, True, True]


def test_progress_counts_passes(tmp_path: Path) -> None:
    told: list[tuple[str, float, float | None]] = []
    source = _source(tmp_path, progress=lambda device, *said: told.append(said))
    _drain(source)
    assert told[0][0].startswith("pass 1 of 5: ")
    assert told[-1][0].startswith("pass 5 of 5: ")
    parts = [part for _, part, _ in told]
    assert parts == sorted(parts)
    assert told[0][2] is None
    assert told[-1][2] is not None
