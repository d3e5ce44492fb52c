"""`upbench table FILE...`: the table of a sweep, made again from its records; measures nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from upbench import conventions, metrics
from upbench.cli import options, output, results
from upbench.cli.accuracy_options import AccuracyOptions
from upbench.cli.options import ShowOptions

if TYPE_CHECKING:
    from upbench.records.record import Record
    from upbench.report.formats.table import Table

COLUMNS = "published,given,params,macs,latency,interval,peak-memory,training-peak-memory"
_KNOWN = ", ".join(["published, given", *metrics.METRICS, "label, shape, scale, batch, dtype, mode, status"])


def command(
    files: results.Files,
    show: ShowOptions,
    accuracy: AccuracyOptions,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME...",
            help=f"What is shown beside the axes: {_KNOWN}, or one published or given metric as AP (published:AP, where both are there). Default: {COLUMNS}; with "
            "--pivot, latency.",
        ),
    ] = None,
    base: options.Base = None,
    pivot: Annotated[
        bool,
        typer.Option(
            "--pivot",
            help="One metric, the values of one axis as columns: of the axis with the fewest values, the last of "
            "several; the other axes are rows.",
        ),
    ] = False,
    across: Annotated[
        str | None, typer.Option(metavar="AXIS", help="The axis whose values are columns; implies --pivot.")
    ] = None,
    convention: options.Convention = conventions.DEFAULT,
) -> None:
    """Make the table of results files, without measuring.

    Rows are cells. Best of a column in bold, second best underlined, among cells of the same work on the same machine.
    """
    table = _table(results.read(files, accuracy.read()), columns, base, pivot or across is not None, across, convention)
    output.check(show.output_file, show.form)
    output.show([table], show)


def _table(
    records: Sequence[Record], columns: str | None, base: str | None, turned: bool, across: str | None, convention: str
) -> Table:
    """Return the table. The records are not in memory any more when it is printed."""
    from upbench.report.tables import column_choice, sweep
    from upbench.report.tables import pivot as pivots
    from upbench.report.tables.result_set import ResultSet

    title, measured = results.title(records), ResultSet.of(records, convention, base)
    shown = column_choice.pick(columns or ("latency" if turned else COLUMNS), measured)
    return pivots.pivot_table(measured, title, shown, across) if turned else sweep.sweep_table(measured, title, shown)
