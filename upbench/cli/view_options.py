"""Options on the rows and columns of a table of records, as compare, sweep and table have them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from upbench import metrics
from upbench.cli import completion
from upbench.cli.options import OUTPUT
from upbench.errors import SpecError, UpbenchError, unknown

if TYPE_CHECKING:
    from upbench.accuracy.sources import Sources
    from upbench.cli.compare_specs import Chosen
    from upbench.report.formats.table import Table
    from upbench.report.tables.result_set import ResultSet
    from upbench.report.tables.selection import Selection
    from upbench.sweeping.expand import SweepSpec

MARKS = ("best", "none")
"""Which cells are marked."""


def _marks(value: str) -> str:
    """Refuse unknown marks before anything is measured."""
    if value not in MARKS:
        raise UpbenchError(f"--marks {value}: {unknown('marks', value, MARKS)}")
    return value


@dataclass(frozen=True)
class ViewOptions:
    """Which columns a table of records has, in which order its rows stand, and which of them are said to fit."""

    columns: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME...",
            autocompletion=completion.columns,
            rich_help_panel=OUTPUT,
            help=f"Groups: paper, all, flops, time, memory, published, given. Quantities: {', '.join(metrics.METRICS)}. Others: "
            "ratio, ratio-interval, label, shape, scale, batch, dtype, mode, status, an axis, or a given or published metric as AP. "
            "Default: published,given,paper; with --pivot, latency.",
        ),
    ] = None
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC",
            autocompletion=completion.metrics,
            rich_help_panel=OUTPUT,
            help="Order of the rows, the best first, as latency; -latency turns it round.",
        ),
    ] = None
    fit: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC=VALUE,...",
            autocompletion=completion.bounds,
            rich_help_panel=OUTPUT,
            help="Say which rows keep bounds, as latency=5ms,params=50k, those first. No gate: --max fails.",
        ),
    ] = None

    heads: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=TEXT,...",
            rich_help_panel=OUTPUT,
            help="Heads of columns and axes, as 'latency=Time,kernel=$k$'; in LaTeX as they are written.",
        ),
    ] = None

    marks: Annotated[
        str,
        typer.Option(
            callback=_marks,
            metavar="|".join(MARKS),
            autocompletion=completion.one_of(*MARKS),
            rich_help_panel=OUTPUT,
            help="Best of a column in bold and second best underlined, or none.",
        ),
    ] = MARKS[0]

    def check_columns(self, given: Sources) -> None:
        """Find mistakes in the columns before anything is measured. What is published in a host is known only afterwards.

        Args:
            given: Accuracy that is shown beside the cost.
        """
        from upbench.report.tables import column_choice, heading

        if given.host is None:
            accuracy = [name for table in given.tables for name in table.metrics]
            heading.parse(self.heads, accuracy)
            if self.columns is not None:
                column_choice.parse(self.columns, accuracy)

    def read(self, convention: str, rows: Sequence[Chosen]) -> Selection:
        """Return order and bounds of a comparison.

        Args:
            convention: How parameters and MACs are counted.
            rows: The rows of the comparison, which bounds may refer to.
        """
        from upbench.report.tables import selection

        specs = [row.spec for row in rows]
        typed = [row.typed for row in rows]
        names, labels = [spec.upsampler for spec in specs], [spec.label for spec in specs]
        return selection.parse(self.sort, self.fit, convention, typed, names, labels)

    def check_of_sweep(self, convention: str, given: Sources, plan: SweepSpec) -> None:
        """Find mistakes in columns, order and bounds before anything is measured, but for the names of accuracy.

        Args:
            convention: How parameters and MACs are counted.
            given: Accuracy that is shown beside the cost.
            plan: The sweep; of one with published accuracy or a proxy, names of columns are known only afterwards.
        """
        from upbench.report.tables import column_choice, heading, selection

        selection.parse(None if given else self.sort, self.fit, convention)
        if plan.published is None and plan.quality is None:
            known = [*plan.axes, *(name for table in given.tables for name in table.metrics)]
            heading.parse(self.heads, known)
            if self.columns is not None:
                column_choice.parse(self.columns, known)

    def table_of(self, results: ResultSet, title: str) -> Table:
        """Return the table of a sweep with these columns, in this order."""
        from upbench.report.tables import column_choice, heading, selection, sweep

        shown = column_choice.pick(self.columns or column_choice.DEFAULT, results)
        chosen = selection.parse(self.sort, self.fit, results.convention, known=results.metrics)
        return self.headed(sweep.selected_table(results, title, shown, chosen), heading.known(results))

    def headed(self, table: Table, known: Iterable[str] = ()) -> Table:
        """Return a table with the heads that were given, and with or without marks.

        Args:
            table: The table.
            known: Names besides those of its columns and of quantities, as axes that it does not show.
        """
        from upbench.report.tables import heading

        named = (name.partition("=")[0] for name in table.names)
        made = heading.headed(table, heading.parse(self.heads, [*named, *known]))
        return made if self.marks != "none" else made.unmarked()

    def refuse(self, what: str) -> None:
        """Raise SpecError if an order or bounds were given to what has neither."""
        given = [option for option, value in (("--sort", self.sort), ("--fit", self.fit)) if value is not None]
        if given:
            raise SpecError(
                [f"{' and '.join(given)}: not with {what}; leave {'it' if len(given) == 1 else 'them'} out"]
            )
