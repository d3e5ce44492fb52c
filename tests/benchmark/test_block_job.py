"""A block from building to what the passes file holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from upbench.benchmark import block
from upbench.benchmark.block import Job
from upbench.measure.blocks import BlockError
from upbench.measure.clock import CpuClock
from upbench.measure.cpu_clock import ClockMeter, ThreadMeter
from upbench.records import pass_lines, pass_store


def _job(name: str, side: int = 24, fails_at: int | None = None, builds: bool = True) -> Job:
    def build() -> Callable[[], object]:
        if not builds:
            raise ValueError("it cannot be built")
        x, count = torch.ones(8, side, side), 0

        def call() -> torch.Tensor:
            nonlocal count
            count += 1
            if fails_at is not None and count >= fails_at:
                raise MemoryError("no more")
            return (x + 1) * 2

        return call

    return Job(name, build, {"side": side})


def _describe(error: BaseException) -> tuple[str, str]:
    return ("oom" if isinstance(error, MemoryError) else "error"), str(error)


def _run(reference: Job, *cells: Job, announced: list[int] | None = None) -> block.Result:
    said = announced if announced is not None else []
    return block.run(reference, cells, ThreadMeter(), "seed", 0.01, _describe, said.append)


def test_a_block_becomes_a_line_of_the_passes_file(tmp_path: Path) -> None:
    found = _run(_job("base"), _job("a"), _job("b", side=48))
    assert [timed.key for timed in found.cells] == ["a", "b"]
    assert {len(timed.wall_s) for timed in (found.reference, *found.cells)} == {len(found.reference.wall_s)}
    assert all(timed.cpu_s and timed.faults is not None for timed in found.cells)
    line = pass_lines.BlockLine(
        run="r", pass_number=0, block=0, started="now", allocator="kept", reference=found.reference, cells=found.cells
    )
    pass_lines.append(tmp_path / "p.jsonl", line)
    (group,) = pass_store.index(tmp_path / "p.jsonl").groups.values()
    assert group.done() == {(0, 0), (1, 0)}


def test_cells_that_fail_are_named_and_the_others_are_measured() -> None:
    said: list[int] = []
    found = _run(_job("base"), _job("no", builds=False), _job("a"), _job("later", fails_at=7), announced=said)
    assert [(timed.status, timed.error) for timed in found.cells] == [
        ("error", "it cannot be built"),
        ("ok", None),
        ("oom", "no more"),
    ]
    assert found.cells[1].wall_s
    assert found.cells[2].wall_s == []
    assert said[:4] == [0, 1, 2, 3]
    assert set(said[4:]) == {0, 2, 3}, "numbers are those of the jobs, whoever has left"


def test_a_reference_that_cannot_be_built_ends_the_block() -> None:
    with pytest.raises(BlockError) as raised:
        _run(_job("base", builds=False), _job("a"))
    assert isinstance(raised.value.__cause__, ValueError)


def test_a_device_without_cpu_time_has_wall_time() -> None:
    found = block.run(_job("base"), [_job("a")], ClockMeter(CpuClock()), "s", 0.01, _describe)
    assert found.cells[0].cpu_s is None
    assert found.cells[0].clock == "wall"
    assert found.cells[0].faults is None
