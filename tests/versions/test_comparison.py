"""Two versions of a module in processes of their own: a commit against the files as they are, and another Python."""

from __future__ import annotations

import itertools
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import Result

from tests.command_line import upbench
from tests.forked_command import Command
from upbench.analysis import stats
from upbench.measure import rounds
from upbench.measure.cpu_clock import Sample
from upbench.report.json_documents import Times
from upbench.versions import comparison, turns, worker

_numbers = itertools.count()
MODULE = """
import torch
import torch.nn.functional as F
from torch import nn

class Up(nn.Module):
    def __init__(self, channels, scale{more}):
        super().__init__()
        self.scale = scale
        self.proj = nn.Conv2d(channels, channels, 1)
        {init}

    def forward(self, x):
        return F.interpolate(self.proj(x), scale_factor=self.scale) * {factor}
"""


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout


Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """A git repository with a package in a folder of its own; writes its module and gives the name of the class."""
    package = f"pack_{next(_numbers)}"
    home = tmp_path / "src" / package
    home.mkdir(parents=True)
    (home / "__init__.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)

    def writer(init: str = "pass", factor: str = "1.0", more: str = "") -> str:
        (home / "up.py").write_text(MODULE.format(init=init, factor=factor, more=more))
        for module in [m for m in sys.modules if m.startswith(package)]:
            del sys.modules[module]
        return f"{package}.up:Up"

    writer()
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "src")
    git(tmp_path, "commit", "-qm", "first")
    return writer


def compare(name: str, *arguments: object) -> Result:
    return upbench("compare", name, "--shape", "16x4x4", "--device", "cpu", "--threads", "1", *arguments)


def test_the_files_as_they_are_against_a_commit(write: Write, tmp_path: Path) -> None:
    name = write(init="self.more = nn.Parameter(torch.ones(1))")
    result = compare(name, "--against", "HEAD", "--exact", "--format", "json")
    assert result.exit_code == 1, result.output
    data = json.loads(result.stdout)
    failed = {f["gate"]: f for f in data["findings"] if f["result"] == "failed"}
    assert "against params" in failed
    assert re.fullmatch(r"273 > 272 of HEAD \(\w+\) \(by 1, 0.4 %\); exact", failed["against params"]["sentence"])
    assert data["versions"][0]["old"]["params"] == 272
    # Nothing is left behind, and nothing of the user's was touched.
    assert len(git(tmp_path, "worktree", "list").splitlines()) == 1
    assert "up.py" in git(tmp_path, "status", "--porcelain")


def test_another_output_fails_before_any_timing(write: Write) -> None:
    result = compare(write(factor="1.01"), "--against", "HEAD", "--budget", "0.05")
    assert result.exit_code == 1, result.output
    assert "check output: 0.01 of the largest value from the output of HEAD" in result.stderr
    assert "latency" not in result.stdout


def test_another_output_that_is_meant_is_allowed(write: Write) -> None:
    name = write(factor="1.01")
    result = compare(name, "--against", "HEAD", "--exact", "--tolerance", "output-digest=off")
    assert result.exit_code == 0, result.output
    assert "check output: not compared; its tolerance is off" in result.stderr


def test_the_current_files_are_checked_before_anything_else(write: Write) -> None:
    result = compare(write(factor="self.scale * float('nan')"), "--against", "HEAD", "--format", "json")
    assert result.exit_code == 1, result.output
    assert "check finite: 1024 of 1024 values" in result.stderr
    assert json.loads(result.stdout)["versions"] == []
    shape = compare(write(factor="torch.ones(3, 1, 1, 1)"), "--against", "HEAD")
    assert shape.exit_code == 1, shape.output
    assert "check shape" in shape.stderr


def test_each_version_has_its_own_defaults(write: Write, tmp_path: Path) -> None:
    name = write(more=", hidden=1", init="self.more = nn.Parameter(torch.ones(hidden))")
    git(tmp_path, "commit", "-qam", "hidden")
    write(more=", hidden=3, extra=0", init="self.more = nn.Parameter(torch.ones(hidden))")
    result = compare(name, "--against", "HEAD", "--exact")
    assert result.exit_code == 1, result.output
    assert re.search(r"against params: 275 > 273 of HEAD( \(\w+\))? \(by 2, 0.7 %\)", result.stderr)
    assert compare(f"{name}:hidden=3", "--against", "HEAD", "--exact").exit_code == 0


def test_the_commit_that_a_hook_belongs_to_stays_as_it_was(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = write(init="self.more = None")
    index = tmp_path / ".git" / "next-index"  # as `git commit FILE` sets it for its hooks
    git(tmp_path, "add", "-u")
    index.write_bytes((tmp_path / ".git" / "index").read_bytes())
    before = index.read_bytes()
    monkeypatch.setenv("GIT_INDEX_FILE", str(index))
    assert compare(name, "--against", "HEAD", "--exact").exit_code == 0
    assert index.read_bytes() == before


def test_equal_code_is_timed_in_rounds(write: Write) -> None:
    result = compare(write(), "--against", "HEAD", "--budget", "0.05", "--threshold", "300%", "--format", "json")
    data = json.loads(result.stdout)
    timed = data["versions"][0]["latency"]
    assert {len(taken) for taken in timed["turns_s"].values()} == {2 * timed["ratio"]["rounds"]}
    assert timed["ratio"]["rounds"] >= rounds.PROCESSES.least
    assert timed["noise_floor"] >= 0
    assert timed["clock"] in ("cpu", "wall")
    before = {("resolution" if key == "noise_floor" else key): value for key, value in timed.items()}
    assert Times.model_validate(before) == Times.model_validate(timed)
    assert any(f["gate"] == "against latency" for f in data["findings"])
    described = json.loads(upbench("compare", "--schema").stdout)["$defs"]
    assert set(data) == set(described["Against"]["properties"])
    assert set(data["versions"][0]) == set(described["BothVersions"]["properties"])
    assert set(timed) == set(described["Times"]["properties"])


def test_what_cannot_be_compared_is_said_in_one_sentence(write: Write, tmp_path: Path) -> None:
    name = write()
    git(tmp_path, "rm", "-rq", "--cached", "src")
    git(tmp_path, "commit", "-qm", "without")
    for arguments, sentence in (
        (["--against", "nope"], "there is no such commit"),
        (["--against", "HEAD"], "there is no pack_"),
        (["--against-python", tmp_path / "no-python"], "cannot be run (No such file or directory)"),
    ):
        result = compare(name, *arguments, "--exact")
        assert result.exit_code == 2, result.output
        assert sentence in result.stderr
        assert "Traceback" not in result.stderr


def test_outside_of_git_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"alone_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(MODULE.format(init="pass", factor="1.0", more=""))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    result = compare(f"{name}:Up", "--against", "HEAD", "--exact")
    assert result.exit_code == 2
    assert "where git finds no repository (fatal: not a git repository" in result.stderr


def test_a_python_without_upbench_is_named(write: Write, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')  # without site-packages
    bare.chmod(0o755)
    result = compare(write(), "--against-python", bare, "--exact")
    assert result.exit_code == 2
    assert "upbench cannot be imported there (ModuleNotFoundError" in result.stderr


def test_a_python_that_ends_by_itself_is_named(write: Write, tmp_path: Path) -> None:
    fragile = tmp_path / "fragile"
    fragile.write_text('#!/bin/sh\ncase "$2" in -c) echo 1.0;; esac\nexit 0\n')
    fragile.chmod(0o755)
    line = ["compare", write(), "--against-python", str(fragile)]
    line += ["--shape", "16x4x4", "--device", "cpu", "--threads", "1", "--exact"]
    with Command(tmp_path, "upbench", *line) as command:
        code = command.process.wait(timeout=300)
    _, said = command.printed()
    assert code == 2, said
    assert "ended by itself (exit code 0)" in said
    assert "Traceback" not in said


def test_the_turn_of_a_version() -> None:
    assert turns.turn_of([0.5, 0.6]) == turns.Turn(calls=1, samples=1)
    assert turns.turn_of([0.002, 0.003]) == turns.Turn(calls=1, samples=10)
    calls = turns.turn_of([1e-5]).calls
    assert calls == math.ceil(rounds.SAMPLE_S / 1e-5)


def test_rounds_are_in_random_order_and_every_version_has_every_place_as_often() -> None:
    orders = [turns.order(3, number) for number in range(30)]
    assert all(order == order[::-1] for order in orders)
    for start in range(0, 30, 3):
        three = orders[start : start + 3]
        assert [sorted(order[place] for order in three) for place in range(6)] == [[0, 1, 2]] * 6
    assert len({tuple(order) for order in orders}) == 6


def test_times_by_two_clocks_are_laid_together_by_wall_time() -> None:
    wall = tuple([[2.0 * s]] * 20 for s in (1.1, 1.0, 1.0))
    cpu = tuple([[s]] * 20 for s in (1.1, 1.0, 1.0))
    one = turns.Timed(turns.change(cpu), 0.0, "budget", 1, cpu, "cpu", wall)
    other = turns.Timed(turns.change(wall), 0.0, "budget", 1, wall, "wall", wall)
    both = turns.together(one, other)
    assert (both.clock, both.turns_s[0]) == ("wall", [[2.2]] * 40)
    assert turns.together(one, one).turns_s[0] == [[1.1]] * 40


def test_cpu_time_counts_where_it_is_the_latency_of_every_version() -> None:
    works = Sample(2.0, 1.0, 1.0, 0, blocked=0, preempted=1)
    old_upbench = Sample(2.0)
    assert turns.clock_of([[[works]]] * 3) == "cpu"
    assert turns.clock_of([[[works]], [[old_upbench]], [[works]]]) == "wall"
    turn = turns.Turn(2, 1)
    assert turns.seconds([[[works]]], turn, "cpu") == ([[0.5]],)
    assert turns.seconds([[[works]]], turn, "wall") == ([[1.0]],)


@pytest.mark.parametrize(("factors", "value"), [([1.0], 1.0), ([1.1, 1.0], 1.05), ([1.2, 1.2], 1.2)])
def test_a_slowdown_that_fails_is_measured_by_new_processes_too(
    factors: list[float], value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def once(*_: Any) -> comparison.Pair:
        taken = ([[left.pop(0)]] * 40, [[1.0]] * 40, [[1.0]] * 40)
        timed = turns.Timed(turns.change(taken), 0.0, "budget", 1, taken)
        return comparison.Pair("a", loaded, loaded, [], timed)

    left, loaded = list(factors), comparison.Loaded(None, {}, 1.0, torch.ones(1))
    monkeypatch.setattr(comparison, "_once", once)
    nothing: Any = None
    pair = comparison.compare(nothing, nothing, nothing, fails=lambda timed: timed.change.value > 1.05)
    assert pair.timed is not None
    assert pair.timed.change.value == pytest.approx(value)
    assert (pair.timed.change.rounds, pair.repeated, left) == (20 * len(factors), len(factors) > 1, [])


def test_the_quickest_sample_of_a_turn_counts_and_the_twin_shows_the_noise_floor() -> None:
    old = [[2.0, 9.0], [2.0]] * 20
    new = [[7.0, 2.2], [2.2]] * 20
    twin = [[2.0], [2.0, 50.0]] * 20
    assert turns.change([new, old, twin]).value == pytest.approx(1.1)
    assert stats.noise_floor(turns.same([new, old, twin])) == 0
    slow_twin = [[2.2]] * 40
    assert turns.change([new, old, slow_twin]).value == pytest.approx(2.2 / 2.1)
    assert stats.noise_floor(turns.same([new, old, slow_twin])) == pytest.approx(0.1)


def test_another_upbench_may_have_its_modules_under_the_names_of_before() -> None:
    found = [worker._first_of(*names) for names in worker.HOMES]
    assert [module.__name__ for module in found] == [names[0] for names in worker.HOMES]
    assert worker._first_of("upbench.not_there.case", "upbench.analysis.stats") is stats
    with pytest.raises(ModuleNotFoundError, match=r"has none of upbench\.a, upbench\.b"):
        worker._first_of("upbench.a", "upbench.b")
