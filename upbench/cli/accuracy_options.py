"""The options of accuracy, as compare, sweep, table, effects and plot have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upbench.cli import completion
from upbench.cli.options import WHAT

if TYPE_CHECKING:
    from upbench.accuracy.sources import Sources
    from upbench.records.record import Record


@dataclass(frozen=True)
class AccuracyOptions:
    """Accuracy that is shown beside measured cost."""

    accuracy: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=WHAT,
            help="Your own accuracy, shown as given: CSV or YAML with a column for each axis, or for the name, and one for "
            "each metric (docs/accuracy.md). May be repeated.",
        ),
    ] = None
    with_published: Annotated[
        str | None,
        typer.Option(
            metavar="HOST",
            autocompletion=completion.hosts,
            rich_help_panel=WHAT,
            help="Published accuracy in a host model, as faster-rcnn-r50; compare measures the upsamplers that have it too.",
        ),
    ] = None

    def read(self) -> Sources:
        """Return the tables of the files, and the host. Raises SpecError with the mistakes of all files."""
        from upbench.accuracy import sources

        return sources.read(self.accuracy or (), self.with_published)


def attached(sources: Sources, records: Sequence[Record]) -> list[Record]:
    """Return records with their accuracy; say on stderr what belongs to none of them."""
    found, messages = sources.attached(records)
    say(messages)
    return found


def say(messages: Sequence[str]) -> None:
    """Print sentences on stderr, each once."""
    for sentence in dict.fromkeys(messages):
        typer.echo(f"upbench: {sentence}", err=True)
