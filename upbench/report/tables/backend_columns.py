"""Backends side by side: how much faster, and how much smaller, than the same upsampler as its release computes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from upbench import units
from upbench.records.record import Record
from upbench.report.tables import columns
from upbench.report.tables.columns import Column

NOTE = (
    "Eager / this: latency of the same upsampler as its release computes it (backend eager) over that of this backend, "
    "median of ratios taken round by round, with its 95 % bootstrap interval. Peak / eager: "
    "peak memory of this backend as a part of the eager form's, in inference and in training."
)
"""The note under a table with the columns of `against_eager`."""


def ran(record: Record) -> str | None:
    """Return what computed the ops that had a choice, as 'fused (window_assemble)'; None where there was no choice.

    Where the automatic choice had a reason for the eager form, it stands behind the op.
    """
    by_backend: dict[str, list[str]] = {}
    reasons = record.backend_reasons or {}
    for op, backend in (record.backends or {}).items():
        by_backend.setdefault(backend, []).append(f"{op}: {reasons[op]}" if op in reasons else op)
    return "; ".join(f"{backend} ({', '.join(ops)})" for backend, ops in by_backend.items()) or None


def against_eager(records: Sequence[Record]) -> tuple[list[Column], list[str]]:
    """Return the columns that compare each record with the eager one of the same spec, and their note.

    Args:
        records: The records of a table, whatever their backends.

    Returns:
        The columns and the notes; both are empty where no record has an eager counterpart.
    """
    eager = {_same(r): r for r in records if r.settings.measure.backend == "eager"}
    pairs = {id(r): eager[_same(r)] for r in records if _same(r) in eager and eager[_same(r)] is not r}
    if not pairs:
        return [], []

    def of(record: Record, part: Callable[[Record, Record], Any]) -> Any:
        eager_record = pairs.get(id(record))
        return None if eager_record is None else part(record, eager_record)

    def speedup(name: str) -> Callable[[Record], float | None]:
        def value(record: Record, eager_record: Record) -> float | None:
            return (
                getattr(columns.paired(eager_record, record), name) if record.latency and eager_record.latency else None
            )

        return lambda record: of(record, value)

    def memory(name: str) -> Callable[[Record], float | None]:
        def value(record: Record, eager_record: Record) -> float | None:
            ours, eagers = (getattr(r.memory, name) if r.memory else None for r in (record, eager_record))
            return ours / eagers if ours is not None and eagers else None

        return lambda record: of(record, value)

    return [
        Column("eager_latency_ratio", "Eager / this", speedup("value"), units.ratio),
        Column("eager_latency_ratio_low", "low", speedup("low"), units.ratio),
        Column("eager_latency_ratio_high", "high", speedup("high"), units.ratio),
        Column("forward_peak_of_eager", "Fwd peak / eager", memory("forward_peak_bytes"), units.percent),
        Column("training_peak_of_eager", "Fwd+bwd peak / eager", memory("training_peak_bytes"), units.percent),
    ], [NOTE]


def _same(record: Record) -> str:
    """A key that is equal for records whose specs differ in nothing but the backend."""
    spec = record.settings.model_dump(mode="json")
    spec["measure"].pop("backend")
    return json.dumps(spec, sort_keys=True)
