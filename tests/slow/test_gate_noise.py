"""What a noisy machine may not do to a gate: `--against` on equal code never fails, a true 10 % does.

Minutes long: `pytest -n 0 -m slow -s` runs it and prints what it found. Two processes spin beside the measurement, one
for each core of a small machine. UPBENCH_GATE_RUNS makes it shorter.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from upbench.analysis import stats
from upbench.benchmark.case import Case
from upbench.gate import Finding, Result, diff
from upbench.measure.clock import CpuClock
from upbench.specs import run_spec as spec
from upbench.specs.run_spec import RunSpec
from upbench.versions import comparison
from upbench.versions.checkout import Version
from upbench.versions.turns import Timed

pytestmark = pytest.mark.slow
RUNS = int(os.environ.get("UPBENCH_GATE_RUNS", "50"))
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
def units(run_spec: RunSpec) -> int:
    """How many units of work take 10 % of the time of a call: both timed in turn, in one process, on a quiet machine.

    Not found out by the gate itself, of which this is the measure: two processes of the same code may differ by more
    than a tenth of the work.
    """
    case = Case(run_spec, torch.device("cpu"), CpuClock())
    scratch = torch.ones(4096)

    def work() -> None:
        with torch.inference_mode():
            for _ in range(50):
                scratch.add_(1e-9)

    parts = [CpuClock().time_s(work, 1) / CpuClock().time_s(case.forward, 1) for _ in range(1000)][200:]
    part, (low, high) = statistics.median(parts), stats.bootstrap_median(parts)
    found = round(SLOWDOWN / part * 50)
    print(f"\n50 units are {part:.1%} of a call ({low:.1%} to {high:.1%}); {found} are injected")
    assert (high - low) / part < 0.05, "the machine is too busy to tell how much work 10 % of a call are"
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
    """The latency gate, RUNS times, each with processes of its own: where one lies in memory is part of its speed."""
    found: list[Finding] = []
    rules = diff.Rules("against", "the old version", "the new version")

    def latency(timed: Timed) -> Finding:
        return diff.latency("against latency", "noisy_up:Up", timed.change, timed.noise_floor, rules)

    while len(found) < RUNS:
        pair = comparison.compare(run_spec, old, new, fails=lambda timed: latency(timed).result is Result.failed)
        assert pair.timed is not None, pair.checks
        found.append(latency(pair.timed))
        print(f"  {found[-1].result}{' (again)' * pair.repeated}: {found[-1].sentence}", flush=True)
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
    line += ["--threads", "1", "--device", "cpu", "--tolerance", "op-count=off"]
    codes: dict[str, list[int]] = {"equal": [], "slower": []}
    for name, work in (("equal", 0), ("slower", units)):
        module.write_text(MODULE.format(units=work))
        for _ in range(3):
            done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=300)
            failed = [told for told in done.stderr.splitlines() if "FAILED" in told]
            print(f"  {name}: {failed or done.stderr.splitlines()[-1]}", flush=True)
            assert all("against latency" in told for told in failed)
            codes[name].append(done.returncode)
    print(f"exit codes: {codes}")
    assert codes["equal"] == [0, 0, 0]
    assert codes["slower"].count(1) >= 2
