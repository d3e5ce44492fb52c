"""A worker that does what its job says: answers, sleeps, raises a signal, or closes its eyes to the device."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence

from upbench.sweeping import worker
from upbench.sweeping.worker import Message, Say


def where(names: Sequence[str]) -> Message:
    return {"places": {name: [{"device_id": name}] for name in names}, "refused": []}


def measure(job: Message, say: Say) -> Message:
    say("half", 0.5)
    if "sleep" in job:
        time.sleep(job["sleep"])
    if "signal" in job:
        os.kill(os.getpid(), signal.Signals[job["signal"]])
    return {"pid": os.getpid(), "device": job["device"], "healthy": job.get("healthy", True)}


def main(socket: int, lifeline: int, parent: int) -> None:
    worker.serve(socket, lifeline, parent, measure, where)
