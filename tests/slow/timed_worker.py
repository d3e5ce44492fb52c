"""A worker that measures nothing and takes its time: UPBENCH_FAKE_S seconds for each cell of a sweep, a fifth of it a pass."""

from __future__ import annotations

import os
import time

from tests.sweeping import fake_worker
from upbench.sweeping import worker
from upbench.sweeping.worker import Message, Say

PASSES = 5


def measure(job: Message, say: Say) -> Message:
    if "block" in job:
        time.sleep(float(os.environ.get("UPBENCH_FAKE_S", 0)) / PASSES * len(job["block"]["cells"]))
    return fake_worker.measure(job, say)


def main(socket: int, lifeline: int, parent: int) -> None:
    worker.serve(socket, lifeline, parent, measure, fake_worker.where)
