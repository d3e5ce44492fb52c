"""Profiles and comparisons in the worker processes that users have, seen through the command line and the API."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.command_line import refused, upbench
from tests.forked_command import Command
from upbench.machine import allocator

pytestmark = pytest.mark.usefixtures("in_workers")
started = pytest.mark.usefixtures("started_workers")
TINY = ("--shape", "8x6x5", "--threads", "1", "--budget", "0.02", "--device", "cpu")
GLIBC = pytest.mark.skipif(not allocator.trim(), reason="malloc is not glibc's, which alone can be pinned")

MODULE = """
import os, signal, time
import torch
import torch.nn.functional as F


class Up(torch.nn.Module):
    def __init__(self, channels, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        {forward}
        return F.interpolate(x, scale_factor=self.scale)
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder from which `mine:Up` is imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    return tmp_path


def write(folder: Path, forward: str) -> str:
    (folder / "mine.py").write_text(MODULE.format(forward=forward))
    return "mine:Up"


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env=environment, check=False
    )


@GLIBC
def test_a_comparison_runs_in_a_worker_with_pinned_memory_by_cpu_time_and_its_caller_needs_no_torch(
    tmp_path: Path,
) -> None:
    arguments = ["compare", "carafe", "nearest", "--shape", "16x48x48", *TINY[2:], "--format", "json"]
    done = python(
        "import sys\n"
        "from upbench.cli.app import app\n"
        f"try:\n    app({arguments})\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print([m for m in ('torch', 'fvcore') if m in sys.modules], file=sys.stderr)\n",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
    for record in json.loads(done.stdout)["records"]:
        latency = record["latency"]
        assert (latency["allocator"], latency["clock"]) == ("kept", "thread CPU time, warm caches")
        assert latency["clock_reason"] is None
        assert latency["faults"] == 0
        assert 0 < latency["share"] <= 1.05
        assert len(latency["wall_s"]) == len(latency["samples_s"]) > 0
        assert latency["rounds_of_pass"] is None


@GLIBC
@started
def test_returned_memory_costs_page_faults(mine: Path) -> None:
    record = json.loads(
        upbench(
            "profile", "carafe", "--shape", "16x48x48", *TINY[2:], "--allocator", "returned", "--format", "json"
        ).stdout
    )
    assert record["spec"]["measure"]["allocator"] == "returned"
    assert record["latency"]["allocator"] == "returned"
    assert record["latency"]["faults"] > 50
    assert len(record["latency"]["rounds_of_pass"]) in (3, 5)


@started
def test_what_a_module_prints_is_no_part_of_the_result(mine: Path) -> None:
    result = upbench("profile", write(mine, "print('hello')"), *TINY, "--format", "json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["label"] == "mine:Up"


@pytest.mark.parametrize(
    ("forward", "sentence"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "the process was killed by SIGSEGV"),
        ("os._exit(7)", "the process ended with exit code 7"),
        ("raise ValueError('no such kernel')", "mine:Up failed on 8x6x5 in float32 on cpu: ValueError: no such kernel"),
    ],
)
def test_a_module_that_ends_its_process_or_raises_is_one_sentence(mine: Path, forward: str, sentence: str) -> None:
    said = refused("compare", write(mine, forward), "nearest", *TINY)
    progress = re.compile(r"\(\d+ ?%.*\)$")  # a machine that takes its time says how far it is
    (line,) = [line for line in said.strip().splitlines() if not progress.search(line)]
    assert sentence in line


def test_a_red_check_in_a_worker_is_exit_code_1(mine: Path) -> None:
    result = upbench("compare", write(mine, "x = x * float('nan')"), "nearest", *TINY)
    assert result.exit_code == 1
    assert "FAILED" in result.stderr
    assert "check finite" in result.stderr
    assert result.stdout == ""


def test_ctrl_c_ends_sampling_and_what_was_taken_is_printed(mine: Path) -> None:
    # One file for all calls: one that closes itself in each would swallow a Ctrl-C that meets it there.
    log = "log = globals().get('LOG') or globals().setdefault('LOG', open('called', 'a'))"
    write(mine, f"{log}; log.write('.'); log.flush()")
    with Command(mine, "upbench", "profile", "mine:Up", *TINY[:4], "--budget", "60", "--format", "json") as command:
        until = time.monotonic() + 120
        while not (mine / "called").exists() or (mine / "called").stat().st_size < 2000:
            assert time.monotonic() < until, "the module is never called"
            assert command.process.poll() is None, command.printed()
            time.sleep(0.05)
        command.send(signal.SIGINT)
        code = command.process.wait(timeout=120)
    out, said = command.printed()
    assert code == 130, said
    assert "upbench: interrupted; what is shown is of the calls until then" in said
    assert json.loads(out)["latency"]["stopped"] == "interrupted"


IN_MAIN = """
import json, os, torch, upbench
from torch import nn

class Up(nn.Module):
    def __init__(self, channels, scale):
        super().__init__()
        self.scale = scale
        self.pid = os.getpid()
    def forward(self, x):
        assert os.getpid() == self.pid == HERE
        return nn.functional.interpolate(x, scale_factor=self.scale)

HERE = os.getpid()
if __name__ == "__main__":
    torch.set_num_threads(1)
    fast = dict(shape="8x6x5", budget=0.02, device="cpu")
    pair = upbench.compare("__main__:Up", "nearest", **fast)
    module = upbench.profile(Up(8, 2), torch.rand(1, 8, 6, 5), budget=0.02)
    spec = upbench.profile("nearest", **fast)
    records = [*pair, module, spec]
    print(json.dumps([[r.latency.allocator, r.environment.threads] for r in records]))
    print(upbench.table([module, spec]).to_markdown())
"""


@GLIBC
def test_what_only_the_caller_has_is_measured_there_and_never_set_against_pinned_records(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(IN_MAIN)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert json.loads(first) == [["unpinned", 1], ["unpinned", 1], ["unpinned", 1], ["kept", 1]]
    table = "\n".join(rest)
    assert "are not compared with those of pinned memory" in table
    assert "memory unpinned" in table
    assert "memory kept" in table
    assert "times and ratios of two groups do not compare" in table


def test_specs_of_one_comparison_have_one_allocator(mine: Path) -> None:
    for name in ("kept", "returned"):
        (mine / f"{name}.yaml").write_text(
            f"upsampler: nearest\ninput: {{shape: 8x6x5}}\nmeasure: {{allocator: {name}, threads: 1}}\n"
        )
    assert "one allocator" in refused("compare", "kept.yaml", "returned.yaml")
    assert "kept or returned" in refused("profile", "nearest", "--allocator", "none")
