"""Options of `upbench quality` that fix a protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upbench.cli import options
from upbench.errors import SpecError

if TYPE_CHECKING:
    from upbench.quality.protocol import Protocol


@dataclass(frozen=True)
class ProtocolOptions:
    """What a study fixes before it runs; None where an option was not given."""

    data: Annotated[
        str,
        typer.Option(
            metavar="scenes|DIR",
            rich_help_panel=options.WHAT,
            help="Generated scenes, or a folder with images/NAME.png (.jpg) and masks/NAME.png; NAME up to __ is the object.",
        ),
    ] = "scenes"
    seeds: Annotated[
        int, typer.Option(metavar="6|12", rich_help_panel=options.WHAT, help="Paired seeds, fixed beforehand.")
    ] = 6
    quick: Annotated[
        bool,
        typer.Option("--quick", rich_help_panel=options.WHAT, help="250 steps, not 700: shows early learning only."),
    ] = False
    steps: Annotated[
        int | None, typer.Option(rich_help_panel=options.WHAT, help="Steps of training. Default: 700.")
    ] = None
    rate: Annotated[
        float | None,
        typer.Option(rich_help_panel=options.WHAT, help="Learning rate, one for all upsamplers. Default: 0.003."),
    ] = None
    channels: Annotated[
        int | None, typer.Option(rich_help_panel=options.WHAT, help="Channels of the neck. Default: 32.")
    ] = None
    size: Annotated[
        int | None, typer.Option(metavar="PIXELS", rich_help_panel=options.WHAT, help="Side of a picture. Default: 48.")
    ] = None
    batch: options.Batch = None
    pictures: Annotated[
        str | None,
        typer.Option(
            metavar="TRAIN,TEST",
            rich_help_panel=options.WHAT,
            help="At most so many pictures. Default: all of a folder, 1000,200 scenes.",
        ),
    ] = None
    task: Annotated[str, typer.Option(rich_help_panel=options.WHAT, help="What the network learns.")] = "seg"
    host: options.Host = None
    device: options.Device = None

    def protocol(self) -> Protocol:
        """Return the protocol. Raises SpecError with all mistakes together, or UnknownName."""
        from upbench.quality.protocol import FULL, QUICK, Protocol
        from upbench.specs import strict

        if self.quick and self.steps is not None:
            raise SpecError([f"--quick is {QUICK} steps and --steps asks for {self.steps}; leave one out"])
        given: dict[str, Any] = {
            "task": self.task,
            "host": self.host or "fpn",
            "data": self.data if self.data == "scenes" else "folder",
            "folder": None if self.data == "scenes" else self.data,
            "pictures": _two(self.pictures),
            "seeds": self.seeds,
            "steps": self.steps if self.steps is not None else QUICK if self.quick else FULL,
        }
        named = {"rate": self.rate, "channels": self.channels, "size": self.size, "batch": self.batch}
        given |= {name: value for name, value in named.items() if value is not None}
        if self.device is not None:
            given["device"] = self.device
        found = strict.load(Protocol, given, "command line")
        found.check()
        return found


def _two(text: str | None) -> list[int] | None:
    """The two numbers of --pictures."""
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 2 or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise SpecError([f"--pictures is {text!r}, but must be two numbers above 0, TRAIN,TEST, as 1000,200"])
    return [int(part) for part in parts]
