"""`python -m` in a process of its own that is forked off one with torch, as are its workers: see `tests.forked_workers`."""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests import forked_workers, forking
from upbench.machine import allocator
from upbench.sweeping import worker

COMMAND = "UPBENCH_TEST_COMMAND"
"""Environment variable with the module that is run and its arguments."""


class Command:
    """`python -m` with some arguments, in a folder. What it prints goes to the files `out` and `said` there.

    Used as a context it is ended with it.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._out, self._said = folder / "out", folder / "said"
        with self._out.open("wb") as out, self._said.open("wb") as said:
            self.process = _start(folder, arguments, out.fileno(), said.fileno())

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        self.send(signal.SIGKILL)
        self.process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.process.poll() is None:
            os.kill(self.process.pid, number)

    def printed(self) -> tuple[str, str]:
        """What it has written to stdout and to stderr."""
        return self._out.read_text(), self._said.read_text()


def _start(
    folder: Path, arguments: Sequence[str], out: int, said: int
) -> forked_workers.Forked | subprocess.Popen[bytes]:
    environment = {**os.environ, COMMAND: json.dumps(arguments)}
    if sys.platform != "linux":
        environment["PYTHONPATH"] = str(Path(__file__).parents[1])
        command = [sys.executable, "-m", *arguments]
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=said)
    command = worker.start_command(__name__, [str(folder), *sys.path])
    # Its malloc is pinned as that of its workers, which are forked off it.
    return forked_workers.popen(
        [*command, str(out), str(said)],
        cwd=folder,
        env=allocator.worker_environment("kept", environment),
        pass_fds=[out, said],
    )


class _OwnSource(forked_workers.Source):
    """A fork of this process that workers are forked off."""

    def __init__(self, environment: Mapping[str, str], ours: bool) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if not os.fork():
            kept = theirs.detach()
            # As what a process starts has none of its files: the lock of a results file would be held for longer than the command lives.
            os.closerange(3, kept)
            os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
            forking.main(kept)
        theirs.close()
        first: dict[str, Any] = {"modules": (), "paths": sys.path}
        self.socket.sendall(json.dumps(first).encode())


def main(out: int, said: int) -> None:
    """Run the module; this is what runs in the process. It is given the files that take what is printed."""
    for number, file in ((1, out), (2, said)):
        os.dup2(file, number)
        os.close(file)
    forked_workers.Source = _OwnSource  # type: ignore[misc]
    forked_workers._sources.clear()
    sys.argv = json.loads(os.environ.pop(COMMAND))
    with forked_workers.installed():
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
