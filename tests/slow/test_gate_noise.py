"""What a noisy machine may not do to a gate: `--against` on equal code never fails, a true 10 % does.

Minutes long: `pytest -n 0 -m slow -s` runs it and prints what it found. Two processes spin beside the measurement, one
for each core of a small machine. UPBENCH_GATE_RUNS makes it shorter.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from upbench import against, spec
from upbench.against import Worker
from upbench.gate import Finding, Result, diff
from upbench.spec import RunSpec
from upbench.versions import Version

pytestmark = pytest.mark.slow
RUNS = int(os.environ.get("UPBENCH_GATE_RUNS", "50"))
RUNS_OF_ONE_START = 10
"""Where a process lies in memory is part of what makes equals differ: so often are new ones started."""
BUDGET_S = 2.0
SLOWDOWN = 0.10
MODULE = """
import torch
from upbench.upsamplers.dysample import DySample

class Up(DySample):
    def __init__(self, channels, scale):
        super().__init__(channels, scale)
        self.scratch = torch.ones(4096)

    def forward(self, x, size=None):
        for _ in range({units}):
            self.scratch.add_(1e-9)
        return super().forward(x, size)
"""


def _spin() -> None:
    while True:
        pass


def _version(folder: Path, units: int) -> Version:
    """A module that does so many units of work on top."""
    folder.mkdir(exist_ok=True)
    (folder / "noisy_up.py").write_text(MODULE.format(units=units))
    return Version(f"{units} units", sys.executable, folder, (str(folder),), inside=folder)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Version:
    return _version(tmp_path_factory.mktemp("plain"), 0)


@pytest.fixture(scope="module")
def run_spec(plain: Version) -> Iterator[RunSpec]:
    before = Path.cwd()
    os.chdir(plain.folder)  # where the name is looked up
    yield spec.load(
        {
            "upsampler": "noisy_up:Up",
            "input": {"shape": "64x32x32"},
            "measure": {"device": "cpu", "threads": 1, "budget": BUDGET_S},
        }
    )
    os.chdir(before)


@pytest.fixture(scope="module")
def units(plain: Version, run_spec: RunSpec, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many units of work are 10 % of a call, found out while the machine is quiet."""
    loaded = _version(tmp_path_factory.mktemp("loaded"), 50)
    # By the gate's own rounds: two quickest calls that were met by different luck once made 10 % of a true 6 %.
    with Worker(loaded) as first, Worker(plain) as second, Worker(plain) as twin:
        workers = [first, second, twin]
        against.load(workers, run_spec)
        change = against.rounds(workers, against.Turn(calls=1, samples=10), 2 * BUDGET_S).change
    found = round(SLOWDOWN / (change.value - 1) * 50)
    print(
        f"\n50 units are {change.value - 1:.1%} ({change.low - 1:.1%} to {change.high - 1:.1%}); {found} are injected"
    )
    return found


@pytest.fixture(scope="module")
def slower(units: int, tmp_path_factory: pytest.TempPathFactory) -> Version:
    return _version(tmp_path_factory.mktemp("slower"), units)


@pytest.fixture(scope="module", autouse=True)
def neighbours(units: int) -> Iterator[None]:
    """Two busy processes."""
    spinning = [multiprocessing.get_context("spawn").Process(target=_spin, daemon=True) for _ in range(2)]
    for process in spinning:
        process.start()
    yield
    for process in spinning:
        process.kill()


def _gates(old: Version, new: Version, run_spec: RunSpec) -> list[Finding]:
    """The latency gate, RUNS times."""
    found: list[Finding] = []
    rules = diff.Rules("against", "the old version", "the new version")
    while len(found) < RUNS:
        with ExitStack() as stack:
            workers = [stack.enter_context(Worker(version)) for version in (new, old, old)]
            after, before, _ = against.load(workers, run_spec)
            turn = against.turn_of([after.quickest_s, before.quickest_s])
            for _ in range(min(RUNS_OF_ONE_START, RUNS - len(found))):
                timed = against.rounds(workers, turn, BUDGET_S)
                found.append(diff.latency("against latency", "noisy_up:Up", timed.change, timed.resolution, rules))
                print(f"  {found[-1].result}: {found[-1].sentence}", flush=True)
    return found


def _count(found: list[Finding]) -> Counter[str]:
    return Counter(str(finding.result) for finding in found)


def test_equal_code_never_fails(plain: Version, run_spec: RunSpec) -> None:
    found = _count(_gates(plain, plain, run_spec))
    print(f"equal code, {RUNS} gate runs at 5 %: {dict(found)}")
    assert found[Result.failed] == 0


def test_a_true_slowdown_of_ten_percent_fails(plain: Version, slower: Version, run_spec: RunSpec) -> None:
    found = _count(_gates(plain, slower, run_spec))
    print(f"+10 %, {RUNS} gate runs at 5 %: {dict(found)}")
    assert found[Result.failed] >= 0.9 * RUNS


def test_the_command_line_says_the_same(units: int, tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    module = tmp_path / "noisy_up.py"
    module.write_text(MODULE.format(units=0))
    git("init", "-q")
    git("add", "noisy_up.py")
    git("commit", "-qm", "plain")
    line = [sys.executable, "-m", "upbench", "compare", "noisy_up:Up", "--against", "HEAD", "--shape", "64x32x32"]
    # The work on top is operators as well: only time is to decide here.
    line += ["--threads", "1", "--device", "cpu", "--tolerance", "op_count=off"]
    codes: dict[str, list[int]] = {"equal": [], "slower": []}
    for name, work in (("equal", 0), ("slower", units)):
        module.write_text(MODULE.format(units=work))
        for _ in range(3):
            done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=300)
            print(done.stderr.splitlines()[-1])
            codes[name].append(done.returncode)
    print(f"exit codes: {codes}")
    assert codes["equal"] == [0, 0, 0]
    assert codes["slower"].count(1) >= 2
