"""Worker processes that are forked off one that has torch already, in place of started: 0.1 s of CPU each, and not 3.

A forked worker is a process of its own, in a session of its own, with the environment, the folder, the sys.path and the
open files that it was asked for; it is killed, dies and runs out of memory as a started one does. What it does not do is
start Python and import torch. Tests of just that, and of what memory and its pages cost, ask for `started_workers`.

The process that they are forked off is itself started once for every way that malloc can be pinned.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
import time
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import forking
from upbench.sweeping import worker
from upbench.versions import comparison

SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2): who gets the children of a process that ended."""
READ_AT_START = ("MALLOC_", "GLIBC_", "LD_", "OMP_", "MKL_", "KMP_", "OPENBLAS_", "ATEN_", "DNNL_", "ONEDNN_", "CUDA_")
READ_AT_START += ("PYTORCH_", "TRITON_")
"""Beginnings of the names of environment variables that are read when Python, malloc, or torch and what it loads start."""
TORCH = ("torch", "torch._dynamo", "torch._inductor")
IMPORTED = (
    *TORCH,
    "upbench.benchmark.block",
    "upbench.benchmark.run",
    "upbench.benchmark.timed_case",
    "upbench.machine.first_calibration",
    "upbench.models.cell",
    "upbench.session.process",
    "upbench.sweeping.cell_worker",
)
"""What a process that workers are forked off has imported; one for versions of upbench has torch alone."""

RUN = "import runpy, sys; runpy.run_path(sys.argv[0], run_name='__main__')"
"""Code that runs a file as Python does."""

_sources: dict[tuple[bool, tuple[tuple[str, str], ...]], Source] = {}


class Forked:
    """A process that was forked, with what `Worker` asks of a `subprocess.Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its exit code."""
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired("a forked worker", timeout or 0)
            time.sleep(0.002)
        return code


class Source:
    """A process that has imported torch, seen from the tests; it ends with them.

    Args:
        environment: Its environment variables.
        ours: Whether it has imported upbench, the one that is tested.
    """

    def __init__(self, environment: Mapping[str, str], ours: bool) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.process = subprocess.Popen(
            [sys.executable, "-P", forking.__file__, str(theirs.fileno())],
            env={name: value for name, value in environment.items() if name != "PYTHONPATH"},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        first = {"modules": IMPORTED, "paths": sys.path} if ours else {"modules": TORCH, "paths": None}
        self.socket.sendall(json.dumps(first).encode())

    def fork(self, asked: Mapping[str, Any], files: Sequence[int]) -> Forked:
        """Return a process that does what is asked, a child of this one, with these open files."""
        libc = ctypes.CDLL(None)
        libc.prctl(SUBREAPER, 1)
        try:
            socket.send_fds(self.socket, [json.dumps(asked).encode()], list(files))
            answer = self.socket.recv(64)
        finally:
            libc.prctl(SUBREAPER, 0)
        if not answer:
            raise OSError("the process that workers are forked of has ended")
        return Forked(int(answer))


def popen(command: Sequence[str], **options: Any) -> Forked | subprocess.Popen[bytes]:
    """Start what `Worker` starts: a fork where it is one of this Python, and else a process."""
    python, *words = command
    if python == sys.executable and words[:2] == ["-c", worker.START]:
        ours, code, arguments = True, worker.START, ["-c", *words[2:]]
    elif python == sys.executable and words[:3] == ["-P", "-u", str(comparison.WORKER)]:
        ours, code, arguments = False, RUN, words[2:]
    else:
        return subprocess.Popen(command, **options)
    folder = os.fspath(options["cwd"] or os.getcwd())
    return _fork(
        ours, code, arguments, folder, os.environ if options["env"] is None else options["env"], options["pass_fds"]
    )


def python(code: str, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> int:
    """Run code in a process that has torch and nothing of upbench, and return its exit code; what it prints goes to stderr.

    Args:
        code: What `python -c` would run.
        arguments: Its arguments.
        folder: Where it runs.
        environment: Its environment variables.
    """
    if sys.platform != "linux":
        return subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=folder, env=environment, check=False
        ).returncode
    return _fork(False, code, ["-c", *arguments], os.fspath(folder), environment, ()).wait()


def _fork(
    ours: bool,
    code: str,
    arguments: Sequence[str],
    folder: str,
    environment: Mapping[str, str],
    files: Sequence[int],
) -> Forked:
    key = ours, tuple(sorted((k, v) for k, v in environment.items() if k.startswith(READ_AT_START)))
    if key not in _sources:
        _sources[key] = Source(environment, ours)
    numbers = [2, *files]
    asked = {
        "code": code,
        "arguments": arguments,
        "folder": folder,
        "environment": dict(environment),
        "numbers": numbers,
        "parent": os.getpid(),
    }
    return _sources[key].fork(asked, numbers)


@contextmanager
def installed() -> Iterator[None]:
    """Let workers be forked inside, where the system can."""
    with _starting_with(popen if sys.platform == "linux" else subprocess.Popen):
        yield


@contextmanager
def taken_out() -> Iterator[None]:
    """Let workers be started inside, as they are for users."""
    with _starting_with(subprocess.Popen):
        yield


@contextmanager
def _starting_with(start: Any) -> Iterator[None]:
    before = worker.subprocess
    worker.subprocess = types.SimpleNamespace(**{**vars(subprocess), "Popen": start})
    try:
        yield
    finally:
        worker.subprocess = before
