"""From workloads to numbers: what is counted, the memory, the roofline bound, and the latency in shared rounds."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from upbench import cards, floor, rounds, stats
from upbench.calibration import Calibration
from upbench.case import Case
from upbench.measure import breakdown, clock, counting, graph, latency, memory, output, params, routes
from upbench.record import Latency, Macs, Memory, Routes
from upbench.workload import Workload, explained, failure


def counts_of(case: Case) -> dict[str, Any]:
    """What is counted and not timed: the fields of a `Record` from `params` to `output`, by name.

    MACs are of one call; where routes to them disagree, the case is warned. What cannot be counted is None, with a
    warning.
    """
    size = case.attempt("parameters could not be counted", lambda: params.count(case.plain))
    with case.autocast():
        operators = case.attempt("operators could not be counted", lambda: output.op_count(case.plain, case.inputs))
        counted = case.attempt(
            "MACs could not be counted", lambda: counting.count(case.plain, case.inputs, case.inputs_again)
        )
        with _cheapest(case) as (module, tensors):
            seen = case.attempt(
                "MACs could not be counted by torch", lambda: routes.torch_count(module, tensors or case.inputs)
            )
            parts = counted and case.attempt(
                "MACs could not be told apart by layer",
                lambda: breakdown.count(module, tensors or case.inputs, counted),
            )
    declared = case.spec.card.count_macs
    closed = declared and case.attempt("the closed form failed", lambda: declared(case.spec.setting))
    if counted and seen:
        case.warnings += routes.disagreements(closed, counted, seen)
    case.warnings += counted.notes if counted else ()
    if counted and closed is None:
        case.warnings.append("no closed form is declared for this upsampler; its MACs rest on the counter alone")
    if counted and counted.uncounted:
        listed = ", ".join(f"{name} ({n}x)" for name, n in counted.uncounted.items())
        case.warnings.append(f"not counted in the MACs: {listed}")
    return {
        "params": size and size.total,
        "params_trainable": size and size.trainable,
        "buffers": size and size.buffers,
        "macs": Macs(**counted.by_kind, total=counted.total) if counted and counted.known else None,
        "macs_by_op": counted and counted.by_op,
        "uncounted": counted and counted.uncounted,
        "missing": counted and counted.missing,
        "routes": seen
        and Routes(closed=vars(closed) if closed else None, torch=seen.by_kind, torch_uncounted=seen.uncounted),
        "breakdown": parts,
        "op_count": operators,
        "output": case.repeated_output(),
    }


@contextmanager
def _cheapest(case: Case) -> Iterator[tuple[nn.Module, tuple[Tensor, ...] | None]]:
    """The module on its plain ops, and inputs of it where these are not the case's.

    What is counted is the method, the same whatever backend runs. One of ours is counted on the meta device, where a
    call costs nothing. A user's module is called as it is: what it does may depend on the device and on values, and it
    need not be such that it can be copied.
    """
    if case.spec.upsampler in cards.builtin():
        module = copy.deepcopy(case.plain).to("meta")
        if case.spec.card.fused:
            module.backend = "eager"  # type: ignore[assignment]
        yield module, tuple(tensor.detach().to("meta") for tensor in case.inputs)
        return
    module = case.plain
    backend = getattr(module, "backend", None)
    if case.spec.card.fused:
        module.backend = "eager"  # type: ignore[assignment]
    try:
        yield module, None
    finally:
        if case.spec.card.fused:
            module.backend = backend  # type: ignore[assignment]


def floor_of(work: Workload, part: Mapping[str, Any], known: Calibration | None) -> float | None:
    """Seconds that a forward must take on this machine; None without a calibration (`known`), and for other modes.

    part: the fields `memory` and `macs` of the record; None also where one of them is not known.
    """
    held: Memory | None = part["memory"]
    if known is None or work.spec.measure.mode != "inference" or held is None or part["macs"] is None:
        return None
    if known.disturbed:
        work.warnings.append(
            "the calibration was disturbed by other programs, so that efficiency looks better than it is; "
            "run `upbench env --calibrate` when they have ended"
        )
    moved = floor.compulsory_bytes(held.input_bytes, held.weight_bytes, held.output_bytes)
    return floor.floor_s(moved, part["macs"].total, known, work.spec.input.dtype)


def memory_of(work: Workload) -> Memory | None:
    """Bytes: the peaks of one forward and of one forward with backward, and what is kept between the two.

    A backward that fails leaves its two fields None, with a warning, unless the mode is to measure it: then RunError.
    None when a forward cannot be measured.
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
    """The peak of a forward with its backward, and what is kept between the two."""
    known = [*work.inputs, *work.leaf_inputs, *work.plain.parameters(), *work.plain.buffers()]
    with memory.saved_bytes(known) as kept:
        peak = memory.peak_bytes(work.training, work.device)
    return peak, sum(kept.values())


def times_of(
    works: Sequence[Workload], watch: clock.Clock, budget_s: float, progress: latency.Progress
) -> list[tuple[Latency, list[str]]]:
    """Latency of each workload, in rounds with the others, and what a reader of it should know.

    Raises RunError when a call of one fails.
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
    """The record's latency, in seconds: the samples, and under which conditions they were taken."""
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
    """What a reader of the samples should know, each with what to do about it."""
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
