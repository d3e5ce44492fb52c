"""Ctrl-C: one line that says what is kept, exit code 130, and no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import upbench
from upbench.machine import ceilings
from upbench.measure import rounds

EARLY = """
import builtins, os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
usual = builtins.__import__

def interrupted(name, *more):
    if name == "upbench.cli.help_page" or "help_page" in (more[2] or () if len(more) > 2 else ()):
        os.kill(os.getpid(), signal.SIGINT)
    return usual(name, *more)

builtins.__import__ = interrupted
from upbench.__main__ import main
main()
"""
"""Ctrl-C in the first tenths of a second, in the middle of the imports."""
MODULE = """
from torch import nn

class Up(nn.Module):
    def __init__(self, channels, scale):
        super().__init__()

    def forward(self, x):
        raise KeyboardInterrupt
"""


def test_ctrl_c_during_the_imports_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", EARLY, "list"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 130, done.stderr
    assert (done.stdout, done.stderr) == ("", "upbench: interrupted; nothing was begun\n")


@pytest.mark.parametrize("command", [["compare", "nearest"], ["profile"]])
def test_ctrl_c_before_there_is_a_result_says_that_nothing_was_saved(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stops.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    fast = ("--shape", "8x4x4", "--device", "cpu", "--threads", "1", "--budget", "0.01", "--no-cache")
    result = upbench(*command, "stops:Up", *fast[: None if command[0] == "compare" else -1], "-o", "kept.md")
    assert result.exit_code == 130, result.output
    assert result.stdout == ""
    assert "upbench: interrupted; no round of all calls was complete, and nothing was saved\n" in result.stderr
    assert not (tmp_path / "kept.md").exists()


@pytest.mark.parametrize("where", ["host", "model"])
def test_ctrl_c_in_a_host_or_a_model_shows_the_rounds_until_then(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = rounds.take
    monkeypatch.setattr(rounds, "take", lambda *limits, **more: (usual(*limits, **more), "interrupted")[1])
    monkeypatch.setattr(ceilings, "noise_floor", lambda *measured: 0.0)
    (tmp_path / "host.yaml").write_text("stages: [{name: only, channels: 8, height: 3, width: 4}]\n")
    model = ("--model", "tests.models.hosts:segmenter", "--input", "64x48")
    host = ("--host", tmp_path / "host.yaml") if where == "host" else model
    result = upbench("compare", "bilinear", *host, "--device", "cpu", "--threads", "1", "--budget", "0.01")
    assert result.exit_code == 130, result.output
    assert "bilinear" in result.stdout
    assert "upbench: interrupted; what is shown is of the rounds until then\n" in result.stderr


def test_ctrl_c_between_two_versions_says_that_they_are_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stops.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    result = upbench("compare", "stops:Up", "--against", "HEAD", "--shape", "8x4x4", "--device", "cpu", "--no-cache")
    assert result.exit_code == 130, result.output
    assert result.stdout == ""
    assert "interrupted; two versions are judged by all of their rounds, and nothing was saved\n" in result.stderr
