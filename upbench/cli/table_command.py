"""`upbench table FILE...`: the table of a sweep, made again from its records; measures nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from upbench import conventions
from upbench.cli import options, output, results
from upbench.cli.accuracy_options import AccuracyOptions
from upbench.cli.show_options import TableOptions
from upbench.cli.view_options import ViewOptions

if TYPE_CHECKING:
    from upbench.records.record import Record
    from upbench.report.formats.table import Table


def command(
    files: results.Files,
    show: TableOptions,
    accuracy: AccuracyOptions,
    view: ViewOptions,
    base: options.Base = None,
    pivot: Annotated[
        bool,
        typer.Option(
            "--pivot",
            rich_help_panel=options.OUTPUT,
            help="One metric, the values of one axis as columns: of the axis with the fewest values, the last of "
            "several; the other axes are rows.",
        ),
    ] = False,
    across: Annotated[
        str | None,
        typer.Option(
            metavar="AXIS", rich_help_panel=options.OUTPUT, help="The axis whose values are columns; implies --pivot."
        ),
    ] = None,
    convention: options.Convention = conventions.DEFAULT,
) -> None:
    """Make the table of results files, without measuring.

    Rows are cells. Best of a column in bold, second best underlined, among cells of the same work; of times within one run.
    """
    if turned := pivot or across is not None:
        view.refuse(f"{'--pivot' if across is None else '--across'}, whose rows are not cells")
    table = _table(results.read(files, accuracy.read()), view, base, turned, across, convention)
    output.check_targets(show)
    output.show([table], show)


def _table(
    records: Sequence[Record], view: ViewOptions, base: str | None, turned: bool, across: str | None, convention: str
) -> Table:
    """Return the table. The records are not in memory any more when it is printed."""
    from upbench.report.tables import column_choice, heading
    from upbench.report.tables import pivot as pivots
    from upbench.report.tables.result_set import ResultSet

    title, measured = results.title(records), ResultSet.of(records, convention, base)
    if not turned:
        return view.table_of(measured, title)
    shown = column_choice.pick(view.columns or "latency", measured)
    return view.headed(pivots.pivot_table(measured, title, shown, across), heading.known(measured))
