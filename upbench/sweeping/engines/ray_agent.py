"""What runs on a node of a Ray cluster, in an actor: it starts worker processes there and passes messages on.

Cells are not measured in the actor itself. Ray gives its processes another niceness and number of threads, and its own
modules; a worker is started with the environment of the node, as it is on one machine.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from upbench.machine import allocator
from upbench.machine.allocator import Pinning
from upbench.sweeping.engines import same_code
from upbench.sweeping.worker import PinnedWorker, start_command

SET_BY_RAY = ("OMP_NUM_THREADS", "PYTHONBREAKPOINT")
"""Variables that Ray sets in its processes after they have started."""
PATIENCE_S = 60.0
THREADS = 4
"""Calls that an agent takes at a time: one waits for messages while others send and stop."""


class Agent:
    """Starts one worker process after another, numbered by the caller, and passes on what they say.

    Args:
        variables: Environment variables that workers get from the machine that runs the sweep.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = dict(variables)
        self._number = -1
        self._worker: PinnedWorker | None = None
        self._changed = threading.Condition()
        with suppress(OSError, AttributeError):  # only root may raise a priority
            os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, os.getppid()))

    def describe(self) -> dict[str, Any]:
        """Return the versions here, see `same_code.described`, and the niceness that workers would have without Ray."""
        return {**same_code.described(), "niceness_of_node": os.getpriority(os.PRIO_PROCESS, os.getppid())}

    def start(self, number: int, module: str, pinning: Pinning) -> None:
        """Start a worker, and end the one before.

        Args:
            number: What the worker is known by; counts up.
            module: What runs in it.
            pinning: What its malloc does with large blocks.
        """
        with self._changed:
            self._end()
            command = start_command(module, _own_paths(sys.path))
            self._worker = PinnedWorker(module, pinning, self._environment(), command)
            self._number = number
            self._changed.notify_all()

    def ask(self, number: int, message: dict[str, Any]) -> None:
        """Send a message to a worker, once it is started.

        Args:
            number: Of the worker.
            message: What it is to do.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._number >= number, PATIENCE_S)
            if self._number == number and self._worker is not None:
                self._worker.announcement.clear()
                self._worker.ask(message)

    def events(self, number: int, wait_s: float) -> dict[str, Any]:
        """Return what a worker has said since the last call, at the latest after some time.

        Args:
            number: Of the worker.
            wait_s: How long a message is waited for.

        Returns:
            `messages`; `said` and `count`, which it announced; `death`, its status and sentence once it has died;
            `ended`, whether it was ended on demand.
        """
        worker = self._worker
        if worker is None or number != self._number:
            return {"messages": [], "said": None, "count": 0, "death": None, "ended": True}
        messages, death = [], None
        try:
            ready = worker.pipe.poll(wait_s)
            while ready:
                messages.append(json.loads(worker.pipe.recv_bytes()))
                ready = worker.pipe.poll()
        except (EOFError, OSError, ValueError):
            death = worker.death()
        if death is None and worker.process.poll() is not None and not messages:
            death = worker.death()
        said = worker.announcement
        return {
            "messages": messages,
            "said": said.read(),
            "count": said.count(),
            "death": death,
            "ended": number != self._number,
        }

    def stop(self, number: int) -> None:
        """End a worker, unless another has taken its place."""
        with self._changed:
            if number == self._number:
                self._end()

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def _environment(self) -> dict[str, str]:
        """The environment of this process without what Ray has set in it."""
        at_start = allocator.environment_at_start()
        found = {name: value for name, value in os.environ.items() if name not in SET_BY_RAY}
        return found | {name: at_start[name] for name in SET_BY_RAY if name in at_start} | self._variables


def _own_paths(paths: list[str]) -> list[str]:
    """Folders to import from, without those that Ray adds for itself."""
    import ray

    home = Path(ray.__file__).parent
    return [path for path in paths if not Path(path).is_relative_to(home)]
