"""What malloc was left with, and which process it is, must not show in a call's time: fresh workers by token.

Eight processes that build the same call take turns: one sample each, in random order and then in the reverse, so that
drift of the machine adds the same to all. What is left is what each process has of its own.
"""

from __future__ import annotations

import math
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Mapping

import numpy as np
import pytest

from tests.slow.neighbours import spinning
from upbench.analysis import passes
from upbench.machine import allocator

PROCESSES, ROUNDS = 8, 100

WORKER = """
import sys
import torch
import upbench
from upbench.machine import allocator
from upbench.measure.cpu_clock import ThreadMeter

torch.set_num_threads(1)
meter = ThreadMeter()
cells = []
for side in (SIDES):
    module, x = upbench.build("carafe", channels=64, scale=2).eval(), torch.rand(1, 64, side, side)
    def call(module=module, x=x):
        with torch.inference_mode():
            module(x)
    for _ in range(3):
        call()
    cells.append(call)
print(allocator.in_effect(), flush=True)
for line in sys.stdin:
    sample = meter.sample(cells[int(line)], 1)
    print(sample.cpu_s, sample.faults, flush=True)
"""


class Turns:
    """Worker processes that wait for their turn."""

    def __init__(self, count: int, environment: Mapping[str, str], sides: str = "48,") -> None:
        self.workers = [
            subprocess.Popen(
                [sys.executable, "-c", WORKER.replace("SIDES", sides)],
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            for _ in range(count)
        ]
        self.states = [self._line(n) for n in range(count)]

    def _line(self, n: int) -> str:
        out = self.workers[n].stdout
        assert out is not None
        return out.readline().strip()

    def sample(self, n: int, cell: int = 0) -> tuple[float, int]:
        """CPU seconds and page faults of one call of a worker's cell."""
        given = self.workers[n].stdin
        assert given is not None
        print(cell, file=given, flush=True)
        cpu_s, faults = self._line(n).split()
        return float(cpu_s), int(faults)

    def end(self) -> None:
        for one in self.workers:
            one.kill()
            one.wait()


def levels_in_turns(turns: Turns, members: list[tuple[int, int]], rounds: int) -> tuple[list[float], list[float]]:
    """By (worker, cell): the log of its time against all in the same round, and its median faults a call."""
    order, taken = random.Random(0), {member: list[float]() for member in members}
    faults = {member: list[int]() for member in members}
    for _ in range(rounds):
        row = order.sample(members, len(members))
        for member in (*row, *reversed(row)):
            cpu_s, count = turns.sample(*member)
            taken[member].append(cpu_s)
            faults[member].append(count)
    logs = np.log([np.asarray(taken[member]).reshape(-1, 2).sum(1) for member in members])
    against = logs - logs.mean(0)
    return [passes.interquartile_mean(row) for row in against], [statistics.median(faults[m]) for m in members]


@pytest.mark.slow
def test_eight_fresh_workers_take_the_same_time() -> None:
    with spinning():
        turns = Turns(PROCESSES, allocator.worker_environment("kept", os.environ))
        try:
            assert set(turns.states) == {"kept"}
            levels, faults = levels_in_turns(turns, [(n, 0) for n in range(PROCESSES)], ROUNDS)
        finally:
            turns.end()
    print(f"\nfresh workers: sd {statistics.stdev(levels):.4f}, faults {faults}")
    assert set(faults) == {0}
    assert statistics.stdev(levels) <= 0.01


@pytest.mark.slow
@pytest.mark.parametrize("sides", ["48, 64, 48, 80, 48", "48, 80, 48, 64, 48"])
def test_what_ran_before_leaves_no_trace(sides: str) -> None:
    equal = [(0, n) for n in (0, 2, 4)]
    with spinning():
        turns = Turns(1, allocator.worker_environment("kept", os.environ), sides)
        try:
            levels, faults = levels_in_turns(turns, equal, ROUNDS)
        finally:
            turns.end()
    print(f"\nequal cells after unequal ones: {[round(math.exp(x), 4) for x in levels]}, faults {faults}")
    assert set(faults) == {0}
    assert max(levels) - min(levels) <= math.log(1.03)
