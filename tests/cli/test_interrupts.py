"""Ctrl-C: one line that says what is kept, exit code 130, and no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.command_line import upbench
from upbench.machine import ceilings
from upbench.measure import rounds
from upbench.session import opening
from upbench.session.local import Local

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
WITHIN = """
import builtins, os, signal, sys
from upbench import interrupts

signal.signal(signal.SIGINT, signal.default_int_handler)
usual, pressed = builtins.__import__, []

def interrupted(name, *more):
    if name == "upbench.papers.published" and not pressed:
        pressed.append(name)
        os.kill(os.getpid(), signal.SIGINT)
    try:
        return usual(name, *more)
    except KeyboardInterrupt as error:
        raise TypeError("a library made this of it") from error

builtins.__import__ = interrupted
from upbench.__main__ import main
main()
"""
"""Ctrl-C in an import of a command, by a library that makes another error of it."""
SWALLOWED = """
import os, signal, sys, time
from upbench import interrupts

signal.signal(signal.SIGINT, signal.default_int_handler)
interrupts.end_at_once("", first=True)
interrupts.raise_after_imports()
try:
    import swallowing
    time.sleep(60)
except KeyboardInterrupt:
    print(sys.modules["swallowing"].reached)
"""
SWALLOWING = """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
    reached = "after"
except BaseException:
    reached = "swallowed"
"""
OUTSIDE = """
import os, signal, sys
from typer import core, main as typers

signal.signal(signal.SIGINT, signal.default_int_handler)
where = sys.argv.pop(1)

def pressing(function):
    def instead(*more, **named):
        os.kill(os.getpid(), signal.SIGINT)
        return function(*more, **named)
    return instead

if where == "before":
    typers.get_command = pressing(typers.get_command)
elif where == "parsing":
    core.TyperGroup.make_context = pressing(core.TyperGroup.make_context)
else:
    from upbench.user_code import isolation
    isolation.silence_exit = pressing(isolation.silence_exit)
from upbench.__main__ import main
main()
"""
"""Ctrl-C in the lines around a command: of typer, or while the process ends."""
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


def test_ctrl_c_in_an_import_within_a_command_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHIN, "reproduce", "--list"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr == "upbench: interrupted; nothing was saved\n"


def test_ctrl_c_in_an_import_comes_when_that_has_ended(tmp_path: Path) -> None:
    (tmp_path / "swallowing.py").write_text(SWALLOWING)
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWED],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("after\n", "")


@pytest.mark.parametrize("where", ["before", "parsing", "after"])
def test_ctrl_c_around_a_command_is_one_line(where: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OUTSIDE, where, "show", "carafe"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    left = "the command had ended" if where == "after" else "nothing was begun"
    assert done.stderr == f"upbench: interrupted; {left}\n"
    assert (where == "after") == ("upsampler: carafe" in done.stdout)


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
    assert "upbench: interrupted; nothing was measured yet, and nothing was saved\n" in result.stderr
    assert not (tmp_path / "kept.md").exists()


@pytest.mark.parametrize("command", ["profile", "compare"])
def test_ctrl_c_names_the_files_that_hold_what_was_sampled(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = rounds.take
    monkeypatch.setattr(rounds, "take", lambda *limits, **more: (usual(*limits, **more), "interrupted")[1])
    monkeypatch.setattr(ceilings, "noise_floor", lambda *measured: 0.0)
    (tmp_path / "sampled.py").write_text(
        MODULE.replace(
            "raise KeyboardInterrupt", "return torch.repeat_interleave(torch.repeat_interleave(x, 2, 2), 2, 3)"
        ).replace("from torch", "import torch\nfrom torch", 1)
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    fast = ("--shape", "8x4x4", "--device", "cpu", "--threads", "1", "--budget", "0.01")
    result = upbench(command, "sampled:Up", *fast, "-o", "a.md", "-o", "b.csv", env={"UPBENCH_CALIBRATE": "off"})
    assert result.exit_code == 130, result.output
    what = "calls" if command == "profile" else "rounds"
    assert f"upbench: interrupted; what is in a.md and b.csv is of the {what} until then\n" in result.stderr
    assert Path("a.md").stat().st_size


def test_ctrl_c_while_calls_are_timed_says_that_no_round_was_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ceilings, "noise_floor", lambda *measured: 0.0)
    monkeypatch.setattr(
        Local, "compare", lambda self, specs, progress, timed=True: (progress("carafe: latency", 0.5), interrupted())
    )
    monkeypatch.setattr(opening, "opened", lambda specs: nullcontext(Local()))
    result = upbench("profile", "nearest", "--shape", "8x4x4", "--device", "cpu")
    assert result.exit_code == 130, result.output
    assert result.stderr == "upbench: interrupted; no round of all calls was complete, and nothing was saved\n"


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
