"""`upbench effects FILE...`: what each axis of a sweep does, and which of its cells no other cell beats."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from upbench import conventions, metrics
from upbench.cli import completion, options, output, results
from upbench.cli.accuracy_options import AccuracyOptions
from upbench.cli.show_options import TableOptions
from upbench.errors import UpbenchError
from upbench.report.formats.render import ONE_TABLE

if TYPE_CHECKING:
    from upbench.records.record import Record
    from upbench.report.formats.table import Table


class Part(StrEnum):
    """The tables that `upbench effects` can print."""

    all = "all"
    effects = "effects"
    front = "front"


def command(
    files: results.Files,
    show: TableOptions,
    accuracy: AccuracyOptions,
    names: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="NAME,NAME...",
            autocompletion=completion.several(lambda: metrics.with_evidence()),
            rich_help_panel=options.WHAT,
            help=f"{', '.join(metrics.with_evidence())}, or a given or published metric as AP. Default: "
            "params,macs,latency,peak-memory, the first published metric, and all that are given.",
        ),
    ] = None,
    base: options.Base = None,
    part: Annotated[
        Part,
        typer.Option(
            rich_help_panel=options.OUTPUT,
            help="Main effects, Pareto front, or both. CSV and Parquet hold one of them.",
        ),
    ] = Part.all,
    convention: options.Convention = conventions.DEFAULT,
) -> None:
    """Main effect of each axis on each metric, with intervals; which cells are dominated; the Pareto front."""
    if part is Part.all and (wanted := [form for form in ONE_TABLE if show.wants(form)]):
        raise UpbenchError(f"--format {wanted[0]} holds one table; choose it with --part effects or --part front")

    tables = _tables(results.read(files, accuracy.read()), names, base, part, convention)
    output.check_targets(show)
    output.show(tables, show)


def _tables(records: Sequence[Record], names: str | None, base: str | None, part: Part, convention: str) -> list[Table]:
    """Return the tables that are wanted. The records are not in memory any more when they are printed."""
    from upbench.report.tables import effect_cells
    from upbench.report.tables import effects as report
    from upbench.report.tables.result_set import ResultSet

    title, measured = results.title(records), ResultSet.of(records, convention)
    chosen = effect_cells.metric_columns(names, measured)
    tables = []
    if part is not Part.front:
        tables.append(report.effects_table(measured, title, chosen, base, part is Part.all))
    if part is not Part.effects:
        tables.append(report.front_table(measured, title, chosen))
    return tables
