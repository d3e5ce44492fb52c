"""What Ctrl-C left of a measurement: rounds that were complete are shown, and the exit code says that there were to be more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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


def say_and_end(records: Sequence[Record]) -> None:
    """Say that Ctrl-C ended the sampling of records that were shown, and exit with 130; nothing where it did not."""
    if was_interrupted(records):
        typer.echo("upbench: interrupted; what is shown is of the rounds until then", err=True)
    end(records)


@contextmanager
def ending_with(left: str) -> Iterator[None]:
    """Say what Ctrl-C leaves of what is done inside, and exit with 130.

    Args:
        left: Half a sentence on what is kept.
    """
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"upbench: interrupted; {left}", err=True)
        raise typer.Exit(130) from None
