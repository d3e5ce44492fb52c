"""The worker of `upbench compare --against`: one version of an upsampler, kept alive, timed on demand.

It is run by its path with the Python and the PYTHONPATH of that version, so that it uses the upbench and the module
that are found there. It follows the protocol of `sweeping.worker`, but imports nothing of upbench for itself. It reads
JSON messages from a socket and answers each:

- load {spec, source, output, counted}: builds, counts if `counted`, and writes the output of one forward to a file
- time {calls, samples, core}: samples of `calls` calls each, wall time and, where this upbench can take it, CPU time. It
  ends with the first sample during which the kernel did not give the core to another process, and at most `samples` are
  taken; a version of one thread runs on core number `core` of those it may use
"""

from __future__ import annotations

import gc
import inspect
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any


def main(socket: int, lifeline: int, parent: int) -> None:
    """Answer the messages of the parent until it closes the socket.

    Args:
        socket: File descriptor of the socket.
        lifeline: File descriptor of a pipe that ends with the parent.
        parent: Process id of the parent.
    """
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    pipe = Connection(socket)
    session: dict[str, Any] = {}
    actions: dict[str, Callable[..., dict[str, Any]]] = {"load": _load, "time": _time}
    while True:
        try:
            message = json.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            return
        try:
            answer = actions[message.pop("do")](session, **message)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the parent makes one sentence of whatever was raised
            if os.environ.get("UPBENCH_DEBUG"):
                traceback.print_exc()
            told = str(error) if _is_ours(error) else f"{type(error).__name__}: {error}"
            answer = {"error": told or type(error).__name__}
        pipe.send_bytes(json.dumps(answer).encode())


def _end_with(lifeline: int) -> None:
    """End this process when the parent ends, which closes the pipe."""
    while os.read(lifeline, 1):
        pass
    os._exit(1)


def _is_ours(error: BaseException) -> bool:
    errors = sys.modules.get("upbench.errors")
    return errors is not None and isinstance(error, errors.UpbenchError)


HOMES = (
    ("upbench.specs.run_spec", "upbench.spec"),
    ("upbench.benchmark.run", "upbench.run"),
    ("upbench.benchmark.case", "upbench.case"),
)
"""Names that a module has had in versions of upbench, the present one first."""


def _first_of(*names: str) -> Any:
    """Import the first of these modules that exists."""
    for name in names:
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            if not f"{name}.".startswith(f"{error.name}."):  # it is there, but not what it needs
                raise
    raise ModuleNotFoundError(f"this upbench has none of {', '.join(names)}")


def _load(session: dict[str, Any], spec: dict[str, Any], source: str, output: str, counted: bool) -> dict[str, Any]:
    """Build the version; answer with a record without latency (None where this upbench cannot count alone) and its file."""
    import torch

    from upbench.machine import environment
    from upbench.measure import clock

    specs, run, case_module = (_first_of(*names) for names in HOMES)

    loaded = specs.load(spec, source)
    if loaded.measure.threads is not None:
        torch.set_num_threads(loaded.measure.threads)
    device = environment.resolve_device(loaded.measure.device)
    record = None
    if counted and "timed" in inspect.signature(run.compare).parameters:
        record = run.compare([loaded], timed=False)[0].to_dict()
    watch = clock.clock_for(device)
    case = case_module.Case(loaded, device, watch)
    out = case.forward()
    if not isinstance(out, torch.Tensor):  # several maps: all their values, whichever version this is
        out = torch.cat([each.flatten() for each in out])
    torch.save(out.detach().cpu().clone(), output)
    single = torch.get_num_threads() == 1 and device.type == "cpu" and hasattr(os, "sched_setaffinity")
    cores = sorted(os.sched_getaffinity(0)) if single else []
    session.update(call=case.call(), watch=watch, meter=_meter(device), cores=cores)
    quickest_s = min(watch.time_s(session["call"], 1) for _ in range(5))
    gc.collect()
    gc.disable()
    return {
        "record": record,
        "environment": environment.capture(device),
        "file": inspect.getfile(type(case.plain)),
        "quickest_s": quickest_s,
    }


def _time(session: dict[str, Any], calls: int, samples: int, core: int) -> dict[str, Any]:
    if cores := session["cores"]:  # what else runs on a core, and on its twin, is part of its speed
        os.sched_setaffinity(0, {cores[core % len(cores)]})
    if samples > 1:  # a short call: what ran in between left its caches cold, and not alike for all turns of a round
        session["call"]()
    taken: list[dict[str, Any]] = []
    while len(taken) < samples:
        before = _cuts()
        if session["meter"] is None:
            taken.append({"wall_s": session["watch"].time_s(session["call"], calls)})
        else:
            taken.append(asdict(session["meter"].sample(session["call"], calls)))
        if before is not None and _cuts() == before:
            break
    return {"samples": taken}


def _meter(device: Any) -> Any:
    """Return what takes the CPU time of calls with their wall time; None on a GPU, and in versions without it."""
    if device.type != "cpu":
        return None
    try:
        return import_module("upbench.measure.cpu_clock").ThreadMeter()
    except (ModuleNotFoundError, AttributeError):
        return None


def _cuts() -> int | None:
    """Return how often the kernel took a core away from this process; None where it does not say."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
