"""What forked workers have in common with those that are started, and that these can be had."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import forked_workers
from upbench.sweeping import worker

linux = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
PROBE = """
import json, os, sys

def main(file, parent):
    found = {"folder": os.getcwd(), "mine": os.environ.get("MINE"), "other": os.environ.get("OTHER"), "parent": os.getppid(),
             "session": os.getsid(0), "malloc": os.environ.get("MALLOC_TOP_PAD_"), "torch": "torch" in sys.modules}
    os.write(file, json.dumps(found).encode())
    print("printed", flush=True)
    sys.exit(7)
"""


def probe(folder: Path) -> tuple[dict[str, Any], subprocess.Popen[bytes]]:
    """What a worker says of itself, and its process."""
    (folder / "probe.py").write_text(PROBE)
    read, write = os.pipe()
    started = worker.subprocess.Popen(
        [*worker.start_command("probe", [str(folder), *sys.path]), str(write), str(os.getpid())],
        cwd=folder,
        env={**os.environ, "MINE": "1"},
        pass_fds=(write,),
        stdin=subprocess.DEVNULL,
        stdout=2,
        start_new_session=True,
    )
    os.close(write)
    with open(read) as file:
        return json.loads(file.read()), started


@pytest.mark.parametrize("forked", [pytest.param(True, marks=linux), False])
def test_a_worker_has_what_it_was_asked_for(
    forked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OTHER", raising=False)
    with forked_workers.installed() if forked else forked_workers.taken_out():
        found, process = probe(tmp_path)
        assert process.wait(60) == process.poll() == 7
    assert isinstance(process, forked_workers.Forked) == forked
    assert found.pop("torch") == forked
    expected = {"folder": str(tmp_path), "mine": "1", "other": None, "parent": os.getpid()}
    assert found == {**expected, "session": process.pid, "malloc": None}
    out, err = capfd.readouterr()
    assert (out, "printed" in err) == ("", True)


@linux
def test_what_a_forked_worker_raises_is_a_traceback_and_exit_code_1(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "failing.py").write_text("def main(parent):\n    raise ValueError('on purpose')\n")
    command = [*worker.start_command("failing", [str(tmp_path)]), str(os.getpid())]
    with forked_workers.installed():
        process = worker.subprocess.Popen(command, cwd=tmp_path, env=None, pass_fds=())
    assert process.wait(60) == 1
    assert "ValueError: on purpose" in capfd.readouterr().err


@linux
def test_another_program_is_started() -> None:
    with forked_workers.installed():
        process = worker.subprocess.Popen(
            [sys.executable, "-c", "raise SystemExit(3)"], env=None, cwd=None, pass_fds=()
        )
    assert process.wait(60) == 3
    assert isinstance(process, subprocess.Popen)
