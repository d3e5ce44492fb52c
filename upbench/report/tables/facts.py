"""What notes ask of every record: small values, all of which are read in one look at a record of a results file."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from upbench.records.record import Record, RunSpecData
from upbench.records.stored import fact

_CONDITION: tuple[tuple[str, Callable[[RunSpecData], object]], ...] = (
    ("shape {}", lambda s: s.input.shape),
    ("x{:g}", lambda s: s.scale),
    ("batch {}", lambda s: s.input.batch),
    ("{}", lambda s: s.input.dtype),
    ("{}", lambda s: s.input.memory_format),
    ("offsets {}", lambda s: s.input.offsets),
    ("{}", lambda s: s.measure.mode),
    ("compile {}", lambda s: s.measure.compile),
    ("runtime {}", lambda s: s.measure.runtime),
    ("backend {}", lambda s: s.measure.backend),
)
"""The parts of a condition: how each is written, and where it stands in a spec."""


class Timing(NamedTuple):
    """How the latency of a record was measured.

    Args:
        samples: Number of samples.
        in_passes: Whether it is of the passes of a sweep.
        passes: The number of these passes in a record that holds measurements; None in all others.
        pass_clock: Their clock, "cpu" or "wall".
        of_run: Whether the samples are those of the passes of one run.
        clock_reason: Why it is wall time, of an upsampler measured by itself; None where it is not.
        allocator: What malloc did, of an upsampler measured by itself.
        mode: What was timed, see `run_spec.MeasureSpec`.
        interrupted: Whether the sweep was stopped before its last pass.
    """

    samples: int
    in_passes: bool
    passes: int | None
    pass_clock: str | None
    of_run: bool
    clock_reason: str | None
    allocator: str | None
    mode: str
    interrupted: bool


@fact
def timing(record: Record) -> Timing | None:
    """Return how the latency of a record was measured; None where it was not."""
    found = record.latency
    if found is None:
        return None
    passes = found.passes if record.status == "ok" else None
    return Timing(
        len(found.samples_s),
        found.passes is not None,
        None if passes is None else len(passes.numbers),
        None if passes is None else passes.clock,
        bool(found.rounds_of_pass),
        found.clock_reason,
        found.allocator,
        found.mode,
        found.stopped == "interrupted",
    )


def in_passes(record: Record) -> bool:
    """Return whether a record holds measurements of the passes of a sweep."""
    found = timing(record)
    return found is not None and found.passes is not None


@fact
def condition(record: Record) -> tuple[str | None, ...]:
    """Return what was measured in a record, in parts that a sentence names as far as records agree; see `condition_of`."""
    return condition_of(record.settings)


def condition_of(spec: RunSpecData) -> tuple[str | None, ...]:
    """Return what a spec measures in parts, as "x2" or "batch 1"; None for each that it does not say."""
    values = ((form, get(spec)) for form, get in _CONDITION)
    return tuple(None if value is None else form.format(value) for form, value in values)


@fact
def model(record: Record) -> str | None:
    """Return the whole model that a record is of, with its input; None for a record of an upsampler alone."""
    found = record.settings.value("model")
    if not isinstance(found, dict):
        return None
    image = "x".join(map(str, found.get("image") or ()))  # `compare --model` has other keys than a sweep
    return f"{found.get('name') or found.get('model')} at {found.get('input') or found.get('inputs') or image}"


@fact
def reference(record: Record) -> tuple[str, ...] | None:
    """Return the sweep of a record and the cell that its ratio is to; None for one that was measured by itself."""
    passes = record.latency.passes if record.status == "ok" and record.latency else None
    return None if passes is None else (record.sweep.name if record.sweep else "", *passes.reference)


@fact
def mode(record: Record) -> str:
    """Return which passes through the module a record is of, see `run_spec.MeasureSpec`."""
    return record.settings.measure.mode


@fact
def memory_method(record: Record) -> str | None:
    """Return how peak memory was measured in a record; None where it was not."""
    return record.memory.method if record.memory else None


@fact
def has_roofline(record: Record) -> bool:
    """Return whether the machine of a record was calibrated, so that the least time of a call is known."""
    return record.roofline_s is not None


@fact
def warnings(record: Record) -> tuple[str, ...]:
    """Return the warnings of a record."""
    return tuple(record.warnings)
