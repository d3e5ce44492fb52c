"""A process that forks off others: run by its path, it imports what they need, and becomes each of them where it is asked.

It imports nothing of upbench and of the tests for itself, so that what is forked is as if just started, but for the modules it named.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import random
import socket
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module, invalidate_caches
from typing import Any

MESSAGE = 2**17
"""Bytes of the largest message."""


def main(number: int) -> None:
    """Fork whenever it is asked for, until the socket is closed.

    The first message names modules, and the sys.path that they are found on (null: that of this process). Every other describes a
    process; its id is the answer. That process is a child of the one that asked, which must be a subreaper.

    Args:
        number: File descriptor of the socket.
    """
    asking = socket.socket(fileno=number)
    own = list(sys.path)
    first = json.loads(asking.recv(MESSAGE))
    sys.path[:] = first["paths"] or own
    for name in first["modules"]:
        import_module(name)
    gc.collect()
    gc.freeze()
    while True:
        text, files, _, _ = socket.recv_fds(asking, MESSAGE, 16)
        if not text:
            os._exit(0)  # to let go of torch takes Python a second
        said, says = os.pipe()
        between = os.fork()
        if not between:
            # This process ends at once, so that who asked becomes the parent of the one below.
            if pid := os.fork():
                os.write(says, str(pid).encode())
                os._exit(0)
            for one in (said, says, number):
                os.close(one)
            code = 1
            try:
                code = _become(json.loads(text), files, own)
            finally:
                os._exit(code)
        os.waitpid(between, 0)
        asking.sendall(os.read(said, 64))
        for one in (said, says, *files):
            os.close(one)


def _become(asked: Mapping[str, Any], files: Sequence[int], own: Sequence[str]) -> int:
    """Do what was asked for; return the exit code."""
    while os.getppid() != asked["parent"]:
        time.sleep(0.001)
    os.setsid()
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    _place(files, asked["numbers"])
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    added = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [*filter(None, added), *own]
    invalidate_caches()
    sys.argv = asked["arguments"]
    try:
        exec(asked["code"], {"__name__": "__main__"})
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as Python does at its end
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _place(files: Sequence[int], numbers: Sequence[int]) -> None:
    """Give open files these numbers, the first that of stdout, too."""
    above = max(numbers) + 1
    kept = [fcntl.fcntl(one, fcntl.F_DUPFD, above) for one in files]
    for one in files:
        os.close(one)
    for one, n in zip(kept, numbers, strict=True):
        os.dup2(one, n)
        os.close(one)
    os.dup2(numbers[0], 1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
