"""A worker that measures nothing: for the loop around workers, where what is measured does not matter.

"auto" is two GPUs. A record says by its `label` on which of them it was made, and in which process.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Sequence

from upbench.sweeping import worker
from upbench.sweeping.worker import Message, Say

ROUNDS = 20
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
    return {**(_block(job["block"]) if "block" in job else _count(job)), "healthy": True}


def _count(job: Message) -> Message:
    spec = job["spec"]
    if spec["input"]["seed"] < 100:  # a test may ask for a cell of some length
        time.sleep(spec["input"]["seed"] / 10)
    label = f"{job['device']} {os.getpid()}"
    record = {
        "schema": 2,
        "label": label,
        "spec": spec,
        "started": "now",
        "environment": _env(job["device"]),
    }
    return {"record": record, "call_s": 1.0, "first_call_s": 1.0}


def _block(asked: Message) -> Message:
    """All take a second, give or take a little that is another one for each cell and pass."""

    def timed(one: Message) -> Message:
        bias = zlib.crc32(f"{asked['seed']} {one['key']} {one['role']}".encode()) % 1000 / 1e6
        samples = [1 + bias + n / 1e5 for n in range(ROUNDS * 2)]
        return {"key": one["key"], "axes": one["axes"], "role": one["role"], "wall_s": samples}

    cells = [timed(one) for one in asked["cells"]]
    return {"reference": timed(asked["reference"]), "cells": cells, "started": "now", "allocator": "kept"}


def main(socket: int, lifeline: int, parent: int) -> None:
    worker.serve(socket, lifeline, parent, measure, where)
