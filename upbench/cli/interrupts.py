"""What Ctrl-C left of a measurement: rounds that were complete are shown, and the exit code says that there were to be more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from upbench.cli.show_options import ShowOptions
    from upbench.records.record import Record

TIMING = "latency"
"""What the name of a step ends in during which calls are timed; the argument of a KeyboardInterrupt that ended it."""


def was_interrupted(records: Sequence[Record]) -> bool:
    """Return whether Ctrl-C ended the sampling of records."""
    return any(record.latency is not None and record.latency.stopped == "interrupted" for record in records)


def end(records: Sequence[Record]) -> None:
    """Exit with 130 where Ctrl-C ended the sampling of records."""
    if was_interrupted(records):
        raise typer.Exit(130)


def say(records: Sequence[Record], show: ShowOptions, what: str = "rounds", more: str = "") -> None:
    """Say that Ctrl-C ended the sampling of records, and where what was sampled is; nothing where it did not.

    Args:
        records: The records, which were printed or written.
        show: Where they went.
        what: What was sampled until then.
        more: What else is so, as the end of the sentence.
    """
    if was_interrupted(records):
        named = [str(path) for path, _ in show.targets if path is not None]
        where = f"in {' and '.join(named)}" if named else "shown"
        typer.echo(f"upbench: interrupted; what is {where} is of the {what} until then{more}", err=True)


def say_and_end(records: Sequence[Record], show: ShowOptions) -> None:
    """Say that Ctrl-C ended the sampling of records, and exit with 130; nothing where it did not."""
    say(records, show)
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
