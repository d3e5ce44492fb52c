"""The rows of `sweep_protocol` that hold whatever else runs, and those that need the neighbours to be two and no more.

The second kind is asked for by UPBENCH_NEIGHBOURS=1, on a machine that has nothing else to do.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.slow import sweep_protocol
from tests.slow.neighbours import spinning
from tests.slow.sweep_commands import Bench

pytestmark = pytest.mark.slow
WHATEVER_RUNS = ("kill", "kill-in-a-write", "crash", "oom", "hang")
STATISTICAL = ("processes", "history", "equal", "power", "theta", "twin")


@pytest.mark.parametrize("name", WHATEVER_RUNS)
def test_what_fails_costs_itself(name: str, tmp_path: Path) -> None:
    rows = sweep_protocol.run(Bench(tmp_path), [name])
    assert [str(row) for row in rows if not row.held] == []


@pytest.mark.skipif(
    not os.environ.get("UPBENCH_NEIGHBOURS"), reason="an hour; set UPBENCH_NEIGHBOURS=1 on a quiet machine"
)
def test_a_sweep_beside_two_busy_programs_tells_the_truth(tmp_path: Path) -> None:
    with spinning():
        rows = sweep_protocol.run(Bench(tmp_path), STATISTICAL)
    print(f"\n{sweep_protocol.table(rows)}")
    assert [str(row) for row in rows if row.held is False] == []
