"""Options on the rows and columns of a table of records, as compare, sweep and table have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from upbench import metrics
from upbench.cli import completion
from upbench.cli.options import OUTPUT
from upbench.errors import SpecError

if TYPE_CHECKING:
    from upbench.accuracy.sources import Sources
    from upbench.cli.compare_specs import Chosen
    from upbench.report.formats.table import Table
    from upbench.report.tables.result_set import ResultSet
    from upbench.report.tables.selection import Selection


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
            "ratio, ratio-interval, label, shape, scale, batch, dtype, mode, status, or a given or published metric as AP. "
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

    def check_columns(self, given: Sources) -> None:
        """Find mistakes in the columns before anything is measured. What is published in a host is known only afterwards.

        Args:
            given: Accuracy that is shown beside the cost.
        """
        from upbench.report.tables import column_choice

        if self.columns is not None and given.host is None:
            column_choice.parse(self.columns, [name for table in given.tables for name in table.metrics])

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

    def check_of_sweep(self, convention: str, given: Sources) -> None:
        """Find mistakes in order and bounds before anything is measured, but for the names of accuracy."""
        from upbench.report.tables import selection

        selection.parse(None if given else self.sort, self.fit, convention)

    def table_of(self, results: ResultSet, title: str) -> Table:
        """Return the table of a sweep with these columns, in this order."""
        from upbench.report.tables import column_choice, selection, sweep

        shown = column_choice.pick(self.columns or column_choice.DEFAULT, results)
        chosen = selection.parse(self.sort, self.fit, results.convention, known=results.metrics)
        return sweep.selected_table(results, title, shown, chosen)

    def refuse(self, what: str) -> None:
        """Raise SpecError if an order or bounds were given to what has neither."""
        given = [option for option, value in (("--sort", self.sort), ("--fit", self.fit)) if value is not None]
        if given:
            raise SpecError(
                [f"{' and '.join(given)}: not with {what}; leave {'it' if len(given) == 1 else 'them'} out"]
            )
