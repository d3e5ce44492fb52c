"""What runs in a worker of a sweep: cells are counted, and blocks of cells are timed."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from upbench.machine import allocator, memory_limit
from upbench.sweeping import worker
from upbench.sweeping.announcement import Announcement
from upbench.sweeping.worker import Message, Say

if TYPE_CHECKING:
    from upbench.measure.cpu_clock import Sample


def main(socket: int, lifeline: int, parent: int) -> None:
    """Serve measurements of cells until the parent closes the socket; this is what runs in the worker process.

    Args:
        socket: File descriptor of the connection to the parent.
        lifeline: File descriptor that ends with the parent.
        parent: Process id of the parent.
    """
    worker.serve(socket, lifeline, parent, measure, worker.where)


def measure(job: Message, say: Say) -> Message:
    """Do a job: a cell to count, a block of cells to time, or code to hash. Nothing that a module raises leaves here.

    Args:
        job: The message of the parent.
        say: Called with what is being done, and the part of it that is done, from 0 to 1.
    """
    if "code" in job:
        return _code(job["code"])
    return _block(job, say) if "block" in job else _count(job, say)


def _code(specs: Sequence[Message]) -> Message:
    """Return the hashes of the user's code of some specs, by upsampler, as this process has it, or why it cannot."""
    from upbench.specs import run_spec

    try:
        found = [run_spec.load(one) for one in specs]
        return {"code": {spec.upsampler: spec.sources() for spec in found}, "healthy": True}
    except BaseException as error:  # noqa: BLE001 - a user's module may raise anything, SystemExit included
        return {"error": worker.describe(error)[1], "healthy": True}


def _count(job: Message, say: Say) -> Message:
    """Count one cell and measure its memory: its record without latency, and how long a call takes about."""
    import torch

    from upbench.benchmark import run, timed_case
    from upbench.machine import environment, first_calibration
    from upbench.measure.cpu_clock import ThreadMeter
    from upbench.models import cell
    from upbench.specs import run_spec as spec

    device, threads = torch.device(job["device"]), torch.get_num_threads()
    answer: Message
    try:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        plan = spec.load(job["spec"])
        here = plan.model_copy(update={"measure": plan.measure.model_copy(update={"device": str(device)})})
        if job.get("calibrate") and plan.measure.mode == "inference":
            with environment.with_threads(plan.measure.threads):
                first_calibration.known(device, environment.capture(device), say)
        with memory_limit.limited(job["memory_bytes"], device.type == "cpu"):
            record = run.compare([here], say, timed=False)[0] if plan.model is None else cell.record(here, say)
            call = (timed_case if plan.model is None else cell).call_of(here, device)
            first_s, second_s = (_seconds(ThreadMeter().sample(call, 1)) for _ in range(2))
        answer = {"record": record.to_dict(), "first_call_s": first_s, "call_s": min(first_s, second_s)}
        answer["record"]["environment"]["device_id"] = str(device)
    except BaseException as error:  # noqa: BLE001 - a user's module may raise anything, SystemExit included
        status, sentence = worker.describe(error)
        answer = {"status": status, "error": sentence}
    torch.set_num_threads(threads)
    gc.collect()
    allocator.trim()
    return answer | {"healthy": worker.healthy(device)}


def _seconds(sample: Sample) -> float:
    """CPU time where it is known: wall time of one call says more of the machine's other programs than of the call."""
    return max(sample.cpu_s or 0.0, sample.process_s or 0.0) or sample.wall_s


def _block(job: Message, say: Say) -> Message:
    """Time a block: what it took of the reference and of each cell, or what became of the reference."""
    import torch

    from upbench.benchmark import block
    from upbench.measure.blocks import BlockError
    from upbench.measure.clock import clock_for
    from upbench.measure.cpu_clock import ClockMeter, ThreadMeter
    from upbench.user_code import isolation

    device, asked = torch.device(job["device"]), job["block"]
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    said = _announcement()
    jobs = [
        block.Job(one["key"], partial(_build, one["spec"], device), one["axes"], one["role"])
        for one in (asked["reference"], *asked["cells"])
    ]
    answer: Message
    try:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        meter = ThreadMeter() if device.type == "cpu" else ClockMeter(clock_for(device))
        with memory_limit.limited(job["memory_bytes"], device.type == "cpu"), isolation.isolated():
            found = block.run(
                jobs[0],
                jobs[1:],
                meter,
                asked["seed"],
                asked["budget_s"],
                worker.describe,
                said.say if said else lambda number: None,
                partial(say, "timing"),
            )
        answer = {
            "reference": found.reference.model_dump(mode="json"),
            "cells": [timed.model_dump(mode="json") for timed in found.cells],
            "started": started,
            "allocator": allocator.in_effect() if device.type == "cpu" else "device",
            "load": os.getloadavg()[0],
        }
    except BlockError as error:
        status, sentence = worker.describe(error.__cause__ or error)
        answer = {"status": status, "error": sentence}
    if said:
        said.clear()
    return answer | {"healthy": worker.healthy(device)}


def _build(spec: Message, device: Any) -> Any:
    from upbench.benchmark import timed_case
    from upbench.models import cell
    from upbench.specs import run_spec as specs

    plan = specs.load(spec)
    here = plan.model_copy(update={"measure": plan.measure.model_copy(update={"device": str(device)})})
    return (timed_case if plan.model is None else cell).call_of(here, device)


def _announcement() -> Announcement | None:
    global _shared
    if _shared is None and (text := os.environ.get(worker.ANNOUNCE)) and sys.platform == "linux":
        _shared = Announcement(int(text))
    return _shared


_shared: Announcement | None = None
