"""A worker that measures nothing: for the loop around workers, where what is measured does not matter.

"auto" is two GPUs. A record says by its `label` on which of them it was made, and in which process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from upbench.sweeping import worker
from upbench.sweeping.worker import Message, Say

VERSIONS = {"threads": 1, "torch": "2.0", "upbench": "0", "device_type": "cuda", "cuda": "12"}


def where(names: Sequence[str]) -> Message:
    def devices(name: str) -> list[str]:
        return ["cuda:0", "cuda:1"] if name == "auto" else [name]

    return {"places": {name: [_env(device) for device in devices(name)] for name in names}, "refused": []}


def _env(device: str) -> Message:
    kind = "cpu" if device == "cpu" else "cuda"
    return {**VERSIONS, "device": f"Fake {kind}", "device_type": kind, "device_id": device}


def measure(job: Message, say: Say) -> Message:
    say("sampling", 0.5)
    spec = job["spec"]
    if spec["input"]["seed"] < 100:  # a test may ask for a cell of some length
        time.sleep(spec["input"]["seed"] / 10)
    latency = {
        "mode": "inference",
        "clock": "fake",
        "first_call_s": 1.0,
        "warmup_calls": 2,
        "stable": True,
        "calls_per_sample": 1,
        "samples_per_round": 2,
        "stopped": "precise",
        "discarded_rounds": 0,
        "samples_s": [1.0 + n / 1000 for n in range(200)],
    }
    label = f"{job['device']} {os.getpid()}"
    record = {
        "schema": 1,
        "label": label,
        "spec": spec,
        "started": "now",
        "environment": _env(job["device"]),
        "latency": latency,
    }
    return {"record": record, "healthy": True}


def main(socket: int, lifeline: int, parent: int) -> None:
    worker.serve(socket, lifeline, parent, measure, where)
