"""What Ctrl-C left of a measurement: rounds that were complete are shown, and the exit code says that there were to be more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from upbench.records.record import Record


def was_interrupted(records: Sequence[Record]) -> bool:
    """Return whether Ctrl-C ended the sampling of records."""
    return any(record.latency is not None and record.latency.stopped == "interrupted" for record in records)


def end(records: Sequence[Record]) -> None:
    """Exit with 130 where Ctrl-C ended the sampling of records."""
    if was_interrupted(records):
        raise typer.Exit(130)
