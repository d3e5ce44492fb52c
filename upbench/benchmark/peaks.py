"""What is measured of one workload besides its counts and its latency: peaks of memory, and the roofline bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from upbench.benchmark.workload import Workload, explained
from upbench.machine import roofline
from upbench.machine.calibration import Calibration
from upbench.measure import memory, params
from upbench.ops import destination
from upbench.records.record import Memory


def floor_of(work: Workload, part: Mapping[str, Any], known: Calibration | None) -> float | None:
    """Return the roofline bound of a forward on this machine.

    Args:
        work: The workload.
        part: Fields of its record, of which `memory` and `macs` are read.
        known: Calibration of the machine; None without one.

    Returns:
        Seconds; None without a calibration, without one of the fields, in modes other than inference, and of more than
        one thread where other programs disturbed the calibration: its wall time would make any efficiency look better.
    """
    held: Memory | None = part["memory"]
    if known is None or work.spec.measure.mode != "inference" or held is None or part["macs"] is None:
        return None
    if known.disturbed:
        work.warnings.append(
            f"no efficiency: other programs disturbed the calibration of this machine with {known.threads} threads; "
            "run `upbench env --calibrate` when they have ended, or take --threads 1"
        )
        return None
    moved = roofline.compulsory_bytes(held.input_bytes, held.weight_bytes, held.output_bytes)
    return roofline.roofline_s(moved, part["macs"].total, known, work.spec.input.dtype)


def memory_of(work: Workload, between: Callable[[], None] = lambda: None) -> Memory | None:
    """Measure the peaks of one forward and of one forward with backward, and the bytes that are kept between the two.

    A backward that fails leaves its two fields None, with a warning, where the mode is inference.

    Args:
        work: The workload.
        between: Called between the two, and after them.

    Returns:
        The memory; None when a forward cannot be measured, as that of another runtime than torch.

    Raises:
        RunError: If a backward fails that the mode is to measure.
    """
    if work.execution is not None:
        return None
    destination.forget()  # memory that is kept from call to call counts as well
    forward = work.attempt(
        "the memory of a call could not be measured", lambda: memory.peak_bytes(work.forward, work.device)
    )
    between()
    if work.spec.measure.mode == "inference":
        backward = work.attempt("backward could not run", lambda: _training_bytes(work))
    else:
        with explained(work.spec), work.guarded():
            backward = _training_bytes(work)
    between()
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
