"""Runtimes side by side: how far off each is, and how precisely it computed."""

from __future__ import annotations

from collections.abc import Sequence

from upbench.records.record import Execution, Record
from upbench.report.tables.columns import Column

NOTE = (
    "Error: largest difference from eager float64 of the same rounded weights and inputs, as a part of the largest value. "
    "Precision: asked of the runtime > in effect, as the runtime says it. The memory of a runtime that does not tell it "
    "is unknown."
)
"""The note under a table with the columns of `executed`."""


def executed(records: Sequence[Record]) -> tuple[list[Column], list[str]]:
    """Return the columns on how other runtimes than torch ran, and their note; both are empty where none did.

    Args:
        records: The records of a table.
    """
    ran = [record.execution for record in records if record.execution is not None]
    if not ran:
        return [], []
    versions = ", ".join(sorted({f"{r.runtime} {r.execution.version}" for r in records if r.execution is not None}))
    return [
        Column("runtime_error", "Error", lambda r: r.execution and r.execution.error, _error),
        Column("runtime_precision", "Precision", lambda r: r.execution and _precision(r.execution), _text, False),
    ], [NOTE, f"Runtimes: {versions}."]


def _error(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"


def _text(value: str | None) -> str:
    return value or "-"


def _precision(ran: Execution) -> str:
    return f"{ran.precision_asked} > {ran.precision}"
