"""Two versions of a module in processes of their own: a commit against the files as they are, and another Python."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from upbench import against, stats
from upbench.cli.app import app

_numbers = itertools.count()
MODULE = """
import torch
import torch.nn.functional as F
from torch import nn

class Up(nn.Module):
    def __init__(self, channels, scale):
        super().__init__()
        self.scale = scale
        self.proj = nn.Conv2d(channels, channels, 1)
        {init}

    def forward(self, x):
        return F.interpolate(self.proj(x), scale_factor=self.scale) * {factor}
"""


def upbench(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


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

    def writer(init: str = "pass", factor: str = "1.0") -> str:
        (home / "up.py").write_text(MODULE.format(init=init, factor=factor))
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
    assert "273 is 1 (0.4 %) above 272 of HEAD" in failed["against params"]["sentence"]
    assert data["versions"][0]["old"]["params"] == 272
    # Nothing is left behind, and nothing of the user's was touched.
    assert len(git(tmp_path, "worktree", "list").splitlines()) == 1
    assert "up.py" in git(tmp_path, "status", "--porcelain")


def test_another_output_fails_before_any_timing(write: Write) -> None:
    result = compare(write(factor="1.01"), "--against", "HEAD", "--budget", "0.05")
    assert result.exit_code == 1, result.output
    assert "check output: 0.01 of the largest value from the output of HEAD" in result.stderr
    assert "latency" not in result.stdout


def test_equal_code_is_timed_in_rounds(write: Write) -> None:
    result = compare(write(), "--against", "HEAD", "--budget", "0.05", "--threshold", "300%", "--format", "json")
    data = json.loads(result.stdout)
    timed = data["versions"][0]["latency"]
    assert {len(turns) for turns in timed["turns_s"].values()} == {2 * timed["ratio"]["rounds"]}
    assert timed["ratio"]["rounds"] >= against.MIN_ROUNDS
    assert any(f["gate"] == "against latency" for f in data["findings"])


def test_what_cannot_be_compared_is_said_in_one_sentence(write: Write, tmp_path: Path) -> None:
    name = write()
    git(tmp_path, "rm", "-rq", "--cached", "src")
    git(tmp_path, "commit", "-qm", "without")
    for arguments, sentence in (
        (["--against", "nope"], "there is no such commit"),
        (["--against", "HEAD"], "cannot be imported"),
        (["--against-python", tmp_path / "no-python"], "cannot be run (No such file or directory)"),
    ):
        result = compare(name, *arguments, "--exact")
        assert result.exit_code == 2, result.output
        assert sentence in result.stderr
        assert "Traceback" not in result.stderr


def test_outside_of_git_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"alone_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(MODULE.format(init="pass", factor="1.0"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    result = compare(f"{name}:Up", "--against", "HEAD", "--exact")
    assert result.exit_code == 2
    assert "which is not in a git repository" in result.stderr


def test_a_python_without_upbench_is_named(write: Write, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')  # without site-packages
    bare.chmod(0o755)
    result = compare(write(), "--against-python", bare, "--exact")
    assert result.exit_code == 2
    assert "upbench cannot be imported there (ModuleNotFoundError" in result.stderr


def test_the_turn_of_a_version() -> None:
    assert against.turn_of([0.5, 0.6]) == against.Turn(calls=1, samples=1)
    assert against.turn_of([0.002, 0.003]) == against.Turn(calls=1, samples=10)
    calls = against.turn_of([1e-5]).calls
    assert calls == math.ceil(against.SAMPLE_S / 1e-5)


def test_the_quickest_sample_of_a_turn_counts_and_the_twin_shows_the_resolution() -> None:
    old = [[2.0, 9.0], [2.0]] * 20
    new = [[7.0, 2.2], [2.2]] * 20
    twin = [[2.0], [2.0, 50.0]] * 20
    assert against.change([new, old, twin]).value == pytest.approx(1.1)
    assert stats.resolution(against.same([new, old, twin])) == 0
    slow_twin = [[2.2]] * 40
    assert against.change([new, old, slow_twin]).value == pytest.approx(2.2 / 2.1)
    assert stats.resolution(against.same([new, old, slow_twin])) == pytest.approx(0.1)
