"""From specs to records: the one room where the pieces meet."""

from __future__ import annotations

import copy
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from upbench import calibration, comparable, environment, floor, registry, stats
from upbench.calibration import Calibration
from upbench.case import Case, explained, first_line
from upbench.errors import SpecError, UpbenchError
from upbench.measure import breakdown, clock, counting, graph, latency, limits, memory, output, params, routes
from upbench.record import Latency, Macs, Memory, Record, Routes
from upbench.spec import RunSpec

AA_S = 2.0
"""Seconds of A/A runs before a comparison."""

Progress = Callable[[str, float], None]
"""Called with what is being done and the part of the whole that is done, 0 to 1."""


def _silent(what: str, part: float) -> None:
    return None


def validate(specs: Sequence[RunSpec]) -> None:
    """Build every spec on the meta device, where nothing is computed. Raises SpecError with all that cannot be."""
    found: dict[str, Exception] = {}
    for device in {spec.measure.device for spec in specs}:
        environment.resolve_device(device)
    for spec in specs:
        try:
            with torch.device("meta"):
                registry.construct(spec.card, spec.setting)
        except UpbenchError as error:
            found[str(error)] = error
        except Exception as error:  # noqa: BLE001 - a user's class may raise anything; it becomes one sentence
            found[f"{spec.label} cannot be built: {first_line(error)}"] = error
    if found:
        raise SpecError(list(found)) from next(iter(found.values()))


def run(spec: RunSpec, progress: Progress = _silent) -> Record:
    """Measure one spec. Raises UpbenchError when it cannot be built or run."""
    return compare([spec], progress)[0]


def compare(
    specs: Sequence[RunSpec],
    progress: Progress = _silent,
    timed: bool = True,
) -> list[Record]:
    """Measure specs side by side: counts and memory one after another, latency in interleaved rounds.

    All specs must agree in device, threads and mode, or their times could not be compared. timed: False measures
    only what is exact, and leaves latency None. Raises UpbenchError when one cannot be built or run.
    """
    measure = specs[0].measure
    conditions = {(s.measure.device, s.measure.threads, s.measure.mode) for s in specs}
    if len(conditions) > 1:
        raise SpecError(["the upsamplers that are compared must have the same device, threads and mode"])
    if mistakes := comparable.mistakes([(s.label, comparable.of_spec(s)) for s in specs], False):
        raise SpecError(mistakes)
    device = environment.resolve_device(measure.device)
    started = now()
    steps = len(specs) * 2 + 2
    share = (steps - 2) / steps
    names = ", ".join(s.label for s in specs)
    with environment.with_threads(measure.threads):
        env = environment.capture(device)
        watch = clock.clock_for(device)
        known = calibration.load(environment.machine_key(device))
        resolution = known.resolution if known else None
        if len(specs) > 1 and timed:
            progress("A/A run: what this machine can tell apart", 0)
            resolution = limits.resolution(watch, lambda: limits.call(device), AA_S)
        cases: list[Case] = []
        parts: list[dict[str, Any]] = []
        for n, spec in enumerate(specs):
            progress(f"{spec.label}: counting", 2 * n / steps)
            cases.append(Case(spec, device, watch))
            parts.append(counts_of(cases[-1]))
            progress(f"{spec.label}: memory", (2 * n + 1) / steps)
            parts[-1]["memory"] = memory_of(cases[-1])
            parts[-1]["floor_s"] = floor_of(cases[-1], parts[-1], known)
        times: list[tuple[Latency | None, list[str]]] = [(None, [])] * len(cases)
        if timed:
            progress(f"{names}: warm-up", share)
            times = _times(cases, watch, lambda part: progress(f"{names}: latency", share + (1 - share) * part))
    comparison = uuid.uuid4().hex[:12] if len(specs) > 1 else None
    return [
        Record(
            label=case.spec.label,
            spec=case.spec.to_dict(),
            started=started,
            comparison=comparison,
            resolution=resolution,
            environment=env,
            sources=registry.sources(case.spec.upsampler),
            backends=case.backends or None,
            latency=time_of,
            warnings=case.warnings + warnings,
            **part,
        )
        for case, part, (time_of, warnings) in zip(cases, parts, times, strict=True)
    ]


def counts_of(case: Case) -> dict[str, Any]:
    """What is counted and not timed: the fields of a `Record` from `params` to `output`, by name.

    MACs are of one call; where routes to them disagree, the case is warned. Raises RunError when a call fails.
    """
    size = params.count(case.plain)
    with explained(case.spec), case.autocast():
        operators = output.op_count(case.plain, case.inputs)
        light = _plain_without_data(case)
        counted = counting.count(case.plain, case.inputs)
        seen = routes.torch_count(*light)
        parts = breakdown.count(*light, counted)
    declared = case.spec.card.count_macs
    closed = declared(case.spec.setting) if declared else None
    case.warnings += [*routes.disagreements(closed, counted, seen), *counted.notes]
    if closed is None:
        case.warnings.append("no closed form is declared for this upsampler; its MACs rest on the counter alone")
    if counted.uncounted:
        listed = ", ".join(f"{name} ({n}x)" for name, n in counted.uncounted.items())
        case.warnings.append(f"not counted in the MACs: {listed}")
    return {
        "params": size.total,
        "params_trainable": size.trainable,
        "buffers": size.buffers,
        "macs": Macs(**counted.by_kind, total=counted.total) if counted.known else None,
        "macs_by_op": counted.by_op,
        "uncounted": counted.uncounted,
        "missing": counted.missing,
        "routes": Routes(closed=vars(closed) if closed else None, torch=seen.by_kind, torch_uncounted=seen.uncounted),
        "breakdown": parts,
        "op_count": operators,
        "output": case.output,
    }


def _plain_without_data(case: Case) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The module, on its plain ops, and its inputs, on the meta device, where a call costs nothing.

    What is counted is the method, the same whatever backend runs. A user's module that cannot run on the meta device
    is taken as it is.
    """
    try:
        module = copy.deepcopy(case.plain).to("meta")
        if case.spec.card.fused:
            module.backend = "eager"  # type: ignore[assignment]
        tensors = tuple(t.detach().to("meta") for t in case.inputs)
        module(*tensors)
    except Exception:  # noqa: BLE001 - a user's module need not know the meta device
        return case.plain, case.inputs
    return module, tensors


def floor_of(case: Case, part: Mapping[str, Any], known: Calibration | None) -> float | None:
    """Seconds that a forward must take on this machine; None without a calibration (`known`), and for other modes.

    part: the fields `memory` and `macs` of the case's record.
    """
    if known is None or case.spec.measure.mode != "inference" or part["macs"] is None:
        return None
    if known.disturbed:
        case.warnings.append(
            "the calibration was disturbed by other programs, so that efficiency looks better than it is; "
            "run `upbench env --calibrate` when they have ended"
        )
    held: Memory = part["memory"]
    moved = floor.compulsory_bytes(held.input_bytes, held.weight_bytes, held.output_bytes)
    return floor.floor_s(moved, part["macs"].total, known, case.spec.input.dtype)


def memory_of(case: Case) -> Memory:
    """Bytes: the peaks of one forward and of one forward with backward, and what is kept between the two.

    A backward that fails leaves its two fields None, with a warning, unless the mode is to measure it: then RunError.
    """
    training = saved = None
    known = [*case.inputs, *case.plain.parameters(), *case.plain.buffers()]
    with explained(case.spec):
        forward = memory.peak_bytes(case.forward, case.device)
        try:
            with memory.saved_bytes(known) as kept:
                training = memory.peak_bytes(case.training, case.device)
            saved = sum(kept.values())
        except RuntimeError as error:
            if case.spec.measure.mode != "inference" or isinstance(error, torch.OutOfMemoryError):
                raise
            case.warnings.append(f"backward could not run: {first_line(error)}")
    return Memory(
        method=memory.METHODS[case.device.type],
        input_bytes=sum(t.numel() * t.element_size() for t in case.inputs),
        weight_bytes=params.count(case.plain).bytes,
        output_bytes=case.output_bytes,
        forward_peak_bytes=forward,
        training_peak_bytes=training,
        saved_bytes=saved,
        workspace_bytes=max(forward - case.output_bytes, 0),
    )


def _times(
    cases: Sequence[Case], watch: clock.Clock, progress: latency.Progress
) -> list[tuple[Latency | None, list[str]]]:
    """Latency of each case, in rounds with the others, and its warnings."""
    calls = [case.call() for case in cases]
    timings = latency.measure(calls, watch, cases[0].spec.measure.budget, progress)
    others = [graph.measure(call, case.device) for call, case in zip(calls, cases, strict=True)]
    return [
        (latency_of(case, watch, timing, other), timing_warnings(timing) + other.warnings(timing.samples_s))
        for case, timing, other in zip(cases, timings, others, strict=True)
    ]


def latency_of(case: Case, watch: clock.Clock, timing: latency.Timing, other: graph.Other) -> Latency:
    """The record's latency, in seconds: the samples, and under which conditions they were taken."""
    return Latency(
        mode=case.spec.measure.mode,
        clock=watch.name,
        first_call_s=case.first_call_s,
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
    """What a reader of the samples should know, each with what to do about it."""
    summary = stats.summarise(timing.samples_s)
    found = []
    if summary.n <= 2 * latency.MIN_ROUNDS:
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


def now() -> str:
    """The time in UTC, to the second, as records hold it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
