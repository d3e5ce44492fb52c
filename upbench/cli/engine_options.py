"""Where the cells of a sweep run: --engine and what belongs to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from upbench.cli import completion, options

if TYPE_CHECKING:
    from upbench.sweeping.engines.choice import Choice


@dataclass(frozen=True)
class EngineOptions:
    """Which engine runs a sweep; None for what its file says."""

    engine: Annotated[
        str | None,
        typer.Option(
            metavar="local|ray",
            autocompletion=completion.one_of("local", "ray"),
            rich_help_panel=options.HOW,
            help="Where cells run: this machine, or a Ray cluster (docs/clusters.md). Default: local.",
        ),
    ] = None
    address: Annotated[
        str | None,
        typer.Option(
            metavar="auto|HOST:PORT|local",
            rich_help_panel=options.HOW,
            help="The Ray cluster. Default: auto, the one that runs here.",
        ),
    ] = None
    on: Annotated[
        str | None,
        typer.Option(metavar="KIND", rich_help_panel=options.HOW, help="Nodes of one kind only, as H100."),
    ] = None

    def merged(self, written: Choice) -> Choice:
        """Return the engine of a sweep's file, with what is given here in its place."""
        from upbench.sweeping.engines import choice

        return choice.merged(written, self.engine, self.address, self.on)
