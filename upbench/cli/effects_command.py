"""`upbench effects FILE...`: what each axis of a sweep does, and which of its cells no other cell beats."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from upbench import conventions, metrics
from upbench.cli import options, output, results
from upbench.errors import UpbenchError


class Part(StrEnum):
    all = "all"
    effects = "effects"
    front = "front"


def command(
    files: results.Files,
    names: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="NAME,NAME...",
            help=f"{', '.join(metrics.with_evidence())}, or a published metric as AP. Default: "
            "params,macs,latency,peak-memory and the first published metric.",
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="AXIS=VALUE,...", help="The levels that effects are taken against. Default: see the notes."
        ),
    ] = None,
    part: Annotated[Part, typer.Option(help="Main effects, Pareto front, or both. CSV holds one of them.")] = Part.all,
    convention: options.Convention = conventions.DEFAULT,
    form: results.Formatted = results.Format.table,
    output_file: options.Output = None,
) -> None:
    """Main effect of each axis on each metric, with intervals; which cells are dominated; the Pareto front."""
    if form is results.Format.csv and part is Part.all:
        raise UpbenchError("--format csv holds one table; choose it with --part effects or --part front")

    from upbench.report import cells, place
    from upbench.report import effects as report

    records = results.read(files)
    axes = place.axes_of(records)
    title = results.title(records)
    asked = cells.chosen(names, records, convention)
    sheets = []
    if part is not Part.front:
        sheets.append(report.main(records, axes, title, asked, convention, base, part is Part.all))
    if part is not Part.effects:
        sheets.append(report.front(records, axes, title, asked, convention))
    output.check(output_file)
    results.emit(sheets, form, output_file)
