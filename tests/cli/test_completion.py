"""Completion of names, keys and values: by the functions, and as bash and zsh ask for it."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.main import get_command

import upbench as package
from upbench import registry
from upbench.cli import completion
from upbench.cli.app import app

ROOT = Path(package.__file__).parents[1]


def test_names_keys_and_values_are_known() -> None:
    assert completion.upsamplers("") == registry.names()
    assert "ldaaqu:theta=11" in completion.upsamplers("ldaaqu:")
    assert completion.upsamplers("ldaaqu:theta=5,g") == [
        f"ldaaqu:theta=5,{rest[len('ldaaqu:') :]}"
        for rest in completion.upsamplers("ldaaqu:")
        if not rest.startswith("ldaaqu:theta")
    ]
    assert {"sapa-d:dof=s2", "sapa-d:dof=1", "sapa-d:norm=true", "sapa-d:norm=false"} <= set(
        completion.upsamplers("sapa-d:")
    )
    assert completion.patterns("")[-1] == "all"
    assert "faster-rcnn-r50/three-stage" in completion.hosts("")
    assert "params,latency" in completion.columns("params,l")
    assert "params=50k,latency=10ms" in completion.bounds("params=50k,")
    assert set(completion.formats("")) >= {"latex", "markdown", "csv"}


@pytest.mark.parametrize("command", ["compare", "profile", "sweep", "table", "effects", "plot", "reproduce", "show"])
def test_every_option_with_few_values_completes_them(command: str) -> None:
    for param in get_command(app).commands[command].params:
        if param.name in ("dtype", "mode", "device", "compile", "offsets", "backend", "shape", "host", "named_form"):
            context = get_command(app).commands[command].make_context(command, [], resilient_parsing=True)
            assert param.shell_complete(context, ""), (command, param.name)


@pytest.mark.parametrize(
    ("words", "position", "joined", "at", "cut"),
    [
        ("upbench compare ldaaqu : th", 4, "upbench compare ldaaqu:th", 2, 7),
        ("upbench compare ldaaqu : theta = 5,gr", 6, "upbench compare ldaaqu:theta=5,gr", 2, 13),
        ("upbench compare ldaaqu :", 3, "upbench compare ldaaqu:", 2, 7),
        ("upbench profile a --set theta = 5", 6, "upbench profile a --set theta=5", 4, 6),
        ("upbench table x --format = la", 5, "upbench table x --format la", 4, 0),
        ("upbench compare a b", 4, "upbench compare a b", 4, 0),
        ("upbench compare a : k = 5 car", 7, "upbench compare a:k=5 car", 3, 0),
    ],
)
def test_words_that_bash_cut_are_joined(words: str, position: int, joined: str, at: int, cut: int) -> None:
    assert completion.join_words(words.split(), position) == (joined.split(), at, cut)


@pytest.fixture
def program(tmp_path: Path) -> dict[str, str]:
    """The environment of a shell that finds `upbench`."""
    script = tmp_path / "bin" / "upbench"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m upbench "$@"\n')
    script.chmod(0o755)
    return {**os.environ, "PATH": f"{script.parent}:{os.environ['PATH']}", "TERM": "dumb", "HOME": str(tmp_path)}


LINES = [
    ("upbench compare ldaa", "upbench compare ldaaqu"),
    ("upbench compare ldaaqu:theta=5,gr", "upbench compare ldaaqu:theta=5,groups=2"),
    ("upbench profile carafe --set k_u", "upbench profile carafe --set k_up=5"),
    ("upbench profile carafe --dtype bf", "upbench profile carafe --dtype bfloat16"),
    ("upbench compare carafe --format=la", "upbench compare carafe --format=latex"),
    ("upbench profile carafe --set=k_u", "upbench profile carafe --set=k_up=5"),
]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_completes_what_is_typed(shell: str, program: dict[str, str], tmp_path: Path) -> None:
    """In a terminal of its own, with the tabulator key."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    start = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}[shell]
    setup = "autoload -U compinit; compinit -u; " if shell == "zsh" else ""
    script = subprocess.run(
        ["upbench"], env={**program, "_UPBENCH_COMPLETE": f"source_{shell}"}, capture_output=True, text=True, check=True
    ).stdout
    (tmp_path / "script").write_text(f"{setup}\n{script}\nPS1='> '\necho re''ady\n")
    master, slave = pty.openpty()
    with subprocess.Popen(start, stdin=slave, stdout=slave, stderr=slave, env=program, cwd=tmp_path) as process:
        os.close(slave)
        try:
            os.write(master, b". ./script\n")
            _read_until(master, "ready")
            for line, completed in LINES:
                os.write(master, f"{line}\t".encode())
                _read_until(master, completed)
                os.write(master, b"\x15")
        finally:
            process.kill()
            os.close(master)


def _read_until(terminal: int, wanted: str, patience_s: float = 60) -> None:
    """Read from a terminal until a text stands in what it shows."""
    got, end = "", time.monotonic() + patience_s
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            got += os.read(terminal, 65536).decode(errors="replace")
        if wanted in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r|\x07", "", got):
            return
    raise AssertionError(f"{wanted!r} is not in {got!r}")


def test_completion_loads_no_torch(program: dict[str, str]) -> None:
    code = (
        "import os, sys\n"
        "os.environ |= {'_UPBENCH_COMPLETE': 'complete_bash', 'COMP_WORDS': 'upbench compare ldaaqu : th', 'COMP_CWORD': '4'}\n"
        "from upbench.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('torch', 'pandas', 'fvcore') if m in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr.strip()) == ("theta=11\n", "[]")
