"""Measures a block of a pass in this process: builds the reference and a few cells, times them in rounds, drops them."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from upbench.machine import allocator
from upbench.measure import blocks, cpu_clock
from upbench.measure.blocks import BlockError
from upbench.measure.clock import Call
from upbench.measure.cpu_clock import Meter
from upbench.records import pass_lines
from upbench.records.pass_lines import Role

Describe = Callable[[BaseException], tuple[str, str]]
"""Function that returns the status of a cell that raised an error, and a sentence about it."""


@dataclass(frozen=True)
class Job:
    """One call of a block.

    Attributes:
        key: Key of the cell's record.
        build: Function that builds the module and its inputs, and returns the call, which holds them.
        axes: Axis -> value; with `key` the identity of the cell.
        role: Role of the cell, as in the passes file.
    """

    key: str
    build: Callable[[], Call]
    axes: Mapping[str, Any] = field(default_factory=dict)
    role: Role = "cell"


@dataclass(frozen=True)
class Result:
    """The samples of a block, as the passes file holds them.

    Attributes:
        reference: Samples of the reference.
        cells: Samples of each cell, in the order of the jobs.
    """

    reference: pass_lines.Timed
    cells: list[pass_lines.Timed]


def run(
    reference: Job,
    cells: Sequence[Job],
    meter: Meter,
    seed: str,
    budget_s: float,
    describe: Describe,
    announce: Callable[[int], None] = lambda number: None,
    progress: Callable[[float], None] = lambda part: None,
) -> Result:
    """Build the reference and the cells, and time them against each other.

    Memory that malloc keeps is given back first, so that a limit on memory counts what this block takes. A cell that
    cannot be built or called leaves the block, and its part of the budget goes to the others.

    Args:
        reference: Call that every cell is compared with.
        cells: At least one.
        meter: Takes the samples.
        seed: Determines the order of the calls.
        budget_s: Seconds of sampling for each cell; the reference's calls are paid by the cells.
        describe: Turns the error of a cell into a status and a sentence.
        announce: Called before anything is built or called, with 0 for the reference and n for the nth cell.
        progress: Called with the part of the sampling that is done, 0 to 1.

    Returns:
        The samples of the reference and of each cell.

    Raises:
        BlockError: If the reference cannot be built or called; its cause says why.
    """
    gc.collect()
    allocator.trim()
    calls: list[Call] = []
    numbers: list[int] = []
    failed: dict[int, BaseException] = {}
    for n, job in enumerate((reference, *cells)):
        announce(n)
        try:
            calls.append(job.build())
            numbers.append(n)
        except Exception as error:
            if n == blocks.REFERENCE:
                raise BlockError("the reference of a block cannot be built") from error
            failed[n] = error.with_traceback(None)
    found = blocks.measure(
        calls,
        meter,
        random.Random(seed),
        budget_s * max(len(calls) - 1, 1),
        lambda place: announce(numbers[place]),
        progress,
    )
    by_number = dict(zip(numbers, found, strict=True))
    failed |= {n: timed.error for n, timed in by_number.items() if timed.error is not None}
    taken = [
        _failed(job, *describe(failed[n])) if n in failed else _timed(job, by_number[n])
        for n, job in enumerate((reference, *cells))
    ]
    return Result(taken[0], taken[1:])


def _failed(job: Job, status: str, error: str) -> pass_lines.Timed:
    return pass_lines.Timed(key=job.key, axes=dict(job.axes), role=job.role, status=status, error=error)


def _timed(job: Job, timed: blocks.Timed) -> pass_lines.Timed:
    clock, reason = cpu_clock.latency_clock(timed.samples)
    has_cpu = all(sample.cpu_s is not None for sample in timed.samples)
    return pass_lines.Timed(
        key=job.key,
        axes=dict(job.axes),
        role=job.role,
        calls=timed.calls,
        clock=clock,
        clock_reason=reason,
        cpu_s=timed.seconds("cpu") if has_cpu else None,
        wall_s=timed.seconds("wall"),
        faults=timed.faults_per_call,
    )
