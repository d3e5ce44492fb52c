"""Measures workloads and returns the fields of records: counts, memory, roofline bound, and latency in shared rounds."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from upbench.analysis import stats
from upbench.benchmark.workload import Workload, explained, failure
from upbench.errors import SpecError
from upbench.machine import calibration, ceilings, environment, roofline
from upbench.machine.calibration import Calibration
from upbench.measure import clock, graph, latency, memory, params, rounds
from upbench.records.record import Latency, Memory
from upbench.specs.run_spec import RunSpec

AA_S = 2.0
"""Time budget in seconds of the A/A runs before a comparison."""

Progress = Callable[[str, float], None]
"""Function that is told what is being done, and the part of the whole that is done, 0 to 1."""
Build = Callable[[torch.device, clock.Clock], Workload]
"""Function that builds a workload on a device; the clock times its first call."""


@dataclass
class Measured:
    """A workload and the numbers that were measured.

    Attributes:
        work: The workload.
        fields: Name -> value of the fields of a `Record` that depend on the workload.
        parts: Its parts, measured; with latency and memory only where these were requested.
    """

    work: Workload
    fields: dict[str, Any]
    parts: list[Measured]


@dataclass(frozen=True)
class Comparison:
    """Workloads that were measured in the same rounds.

    Attributes:
        shared: Fields of a `Record` that are the same for all: started, comparison, noise_floor, environment.
        measured: Each workload, in the order given.
    """

    shared: dict[str, Any]
    measured: list[Measured]


def measure(
    specs: Sequence[RunSpec],
    builds: Sequence[Build],
    progress: Progress,
    timed: bool = True,
    by_part: bool = False,
) -> Comparison:
    """Measure workloads side by side: counts and memory one after another, latency in interleaved rounds.

    Args:
        specs: All specs of all workloads. They must agree in device, threads and mode, or times could not be compared.
        builds: Functions that build each workload.
        progress: Told what is being done.
        timed: False measures only what is exact, and leaves latency None.
        by_part: Whether to also measure memory and latency of each part alone; that takes as long again.

    Raises:
        UpbenchError: If the specs disagree, or a workload cannot be built or run.
    """
    conditions = {(spec.measure.device, spec.measure.threads, spec.measure.mode) for spec in specs}
    if len(conditions) > 1:
        raise SpecError(["the upsamplers that are compared must have the same device, threads and mode"])
    first = specs[0].measure
    device, many = environment.resolve_device(first.device), len(builds)
    shared: dict[str, Any] = {"started": now(), "comparison": uuid.uuid4().hex[:12] if many > 1 else None}
    with environment.with_threads(first.threads):
        shared["environment"] = environment.capture(device)
        watch = clock.clock_for(device)
        known = calibration.load(environment.machine_key(device))
        shared["noise_floor"] = known.noise_floor if known else None
        if many > 1 and timed:
            progress("A/A run: what this machine can tell apart", 0)
            shared["noise_floor"] = ceilings.noise_floor(watch, lambda: ceilings.probe_upsampler(device), AA_S)
        counted_until = 0.4 if by_part else many / (many + 1)
        measured: list[Measured] = []
        for n, build in enumerate(builds):
            work = build(device, watch)
            progress(f"{work.spec.label}: counting", counted_until * n / many)
            measured.append(_counted(work))
            progress(f"{work.spec.label}: memory", counted_until * (n + 0.5) / many)
            _add_memory(measured[-1], known, by_part)
        if timed:
            _add_latency(measured, watch, first.budget, progress, counted_until, by_part)
    for one in measured:
        one.fields["warnings"] = [*one.work.all_warnings(), *one.fields.get("warnings", ())]
        for part in one.parts:
            part.fields["warnings"] = [*part.work.all_warnings(), *part.fields.get("warnings", ())]
    return Comparison(shared, measured)


def now() -> str:
    """Return the time in UTC, to the second, as records hold it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _counted(work: Workload) -> Measured:
    parts = [_counted(part) for part in work.parts]
    return Measured(work, work.counts([part.fields for part in parts]), parts)


def _add_memory(one: Measured, known: Calibration | None, by_part: bool) -> None:
    for each in (one, *(one.parts if by_part else ())):
        each.fields["memory"] = memory_of(each.work)
        each.fields["roofline_s"] = floor_of(each.work, each.fields, known)


def _add_latency(
    measured: Sequence[Measured], watch: clock.Clock, budget_s: float, progress: Progress, at: float, by_part: bool
) -> None:
    """Time all in the same rounds, then, with `by_part`, all first parts, all second parts, and so on."""
    names = ", ".join(one.work.spec.label for one in measured)
    progress(f"{names}: warm-up", at)
    groups: list[tuple[Sequence[Measured], float]] = [(measured, budget_s)]
    if by_part:
        groups += [
            (parts, budget_s / len(measured[0].parts)) for parts in zip(*(one.parts for one in measured), strict=True)
        ]
    total, spent = sum(budget for _, budget in groups), 0.0
    for group, budget in groups:
        start, share = at + (1 - at) * spent / total, (1 - at) * budget / total

        def told(part: float, start: float = start, share: float = share) -> None:
            progress(f"{names}: latency", start + share * part)

        for one, (time_of, warnings) in zip(
            group, times_of([one.work for one in group], watch, budget, told), strict=True
        ):
            one.fields |= {"latency": time_of, "warnings": warnings}
        spent += budget


def floor_of(work: Workload, part: Mapping[str, Any], known: Calibration | None) -> float | None:
    """Return the roofline bound of a forward on this machine.

    Args:
        work: The workload.
        part: Fields of its record, of which `memory` and `macs` are read.
        known: Calibration of the machine; None without one.

    Returns:
        Seconds; None without a calibration, without one of the fields, and in modes other than inference.
    """
    held: Memory | None = part["memory"]
    if known is None or work.spec.measure.mode != "inference" or held is None or part["macs"] is None:
        return None
    if known.disturbed:
        work.warnings.append(
            "the calibration was disturbed by other programs, so that efficiency looks better than it is; "
            "run `upbench env --calibrate` when they have ended"
        )
    moved = roofline.compulsory_bytes(held.input_bytes, held.weight_bytes, held.output_bytes)
    return roofline.roofline_s(moved, part["macs"].total, known, work.spec.input.dtype)


def memory_of(work: Workload) -> Memory | None:
    """Measure the peaks of one forward and of one forward with backward, and the bytes that are kept between the two.

    A backward that fails leaves its two fields None, with a warning, where the mode is inference.

    Args:
        work: The workload.

    Returns:
        The memory; None when a forward cannot be measured.

    Raises:
        RunError: If a backward fails that the mode is to measure.
    """
    forward = work.attempt(
        "the memory of a call could not be measured", lambda: memory.peak_bytes(work.forward, work.device)
    )
    if work.spec.measure.mode == "inference":
        backward = work.attempt("backward could not run", lambda: _training_bytes(work))
    else:
        with explained(work.spec), work.guarded():
            backward = _training_bytes(work)
    size = work.attempt("the bytes of weights could not be counted", lambda: params.count(work.plain))
    if forward is None or size is None:
        return None
    training, saved = backward or (None, None)
    return Memory(
        method=memory.METHODS[work.device.type],
        input_bytes=sum(t.numel() * t.element_size() for t in work.leaf_inputs),
        weight_bytes=size.bytes,
        output_bytes=work.output_bytes,
        forward_peak_bytes=forward,
        training_peak_bytes=training,
        saved_bytes=saved,
        workspace_bytes=max(forward - work.output_bytes, 0),
    )


def _training_bytes(work: Workload) -> tuple[int, int]:
    """Return the peak of a forward with its backward, and the bytes that are kept between the two."""
    known = [*work.inputs, *work.leaf_inputs, *work.plain.parameters(), *work.plain.buffers()]
    with memory.saved_bytes(known) as kept:
        peak = memory.peak_bytes(work.training, work.device)
    return peak, sum(kept.values())


def times_of(
    works: Sequence[Workload], watch: clock.Clock, budget_s: float, progress: latency.Progress
) -> list[tuple[Latency, list[str]]]:
    """Time workloads in shared rounds.

    Args:
        works: The workloads.
        watch: Clock of their device.
        budget_s: Seconds for each.
        progress: Told the part that is done, 0 to 1.

    Returns:
        Of each workload its latency, and warnings for a reader of it.

    Raises:
        RunError: If a call fails.
    """
    calls = []
    for work in works:
        with explained(work.spec):
            calls.append(work.call())
    try:
        timings = latency.measure(calls, watch, budget_s, progress)
    except latency.CallFailed as failed:
        cause = failed.__cause__ or failed
        raise failure(works[failed.index].spec, cause) from cause
    found = []
    for work, call, timing in zip(works, calls, timings, strict=True):
        other = graph.measure(call, work.device)
        found.append((_latency(work, watch, timing, other), timing_warnings(timing) + other.warnings(timing.samples_s)))
    return found


def _latency(work: Workload, watch: clock.Clock, timing: latency.Timing, other: graph.Other) -> Latency:
    """Return the latency of a record, in seconds: the samples, and the conditions under which they were taken."""
    return Latency(
        mode=work.spec.measure.mode,
        clock=watch.name,
        first_call_s=work.first_call_s,
        warmup_calls=timing.warmup_calls,
        stable=timing.stable,
        calls_per_sample=timing.calls_per_sample,
        samples_per_round=latency.PER_ROUND,
        stopped=timing.stopped,
        discarded_rounds=timing.discarded,
        host_s=other.host_s,
        graph_s=other.graph_s,
        samples_s=timing.samples_s,
    )


def timing_warnings(timing: latency.Timing) -> list[str]:
    """Return warnings for a reader of the samples, each with a remedy."""
    summary = stats.summarise(timing.samples_s)
    found = []
    if summary.n <= rounds.PER_ROUND * rounds.SEVERAL.least:
        found.append(f"only {summary.n} samples fitted the budget; raise --budget for a narrower interval")
    if summary.iqr > 0.1 * summary.median:
        found.append("the machine is noisy (IQR above 10 % of the median); close other programs or raise --budget")
    strange = stats.outliers(timing.samples_s)
    if strange[:1] == [0] and timing.samples_s[0] > summary.median:
        found.append(
            "the first sample is an outlier, as if warm-up had been too short; run again to see whether it stays"
        )
        strange = strange[1:]
    if strange:
        found.append(
            f"{len(strange)} of {summary.n} samples are outliers (kept, the median does not follow them); "
            "something else ran on this machine"
        )
    if timing.discarded:
        found.append(f"{timing.discarded} rounds were taken again because the device throttled; let it cool")
    return found
