"""`upbench reproduce`: the complexity figures that papers print, counted again at the places where the papers put them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upbench.cli import completion, drafts, options, output
from upbench.cli.show_options import ShowOptions, TableOptions
from upbench.errors import UpbenchError
from upbench.report.formats import render
from upbench.report.formats.table import Table

if TYPE_CHECKING:
    from upbench.papers.published import Published


@dataclass(frozen=True)
class RowOptions:
    """Which row of a published table is added up, and under which assumptions."""

    row: Annotated[
        str | None,
        typer.Option(
            metavar="LABEL|NUMBER", rich_help_panel=options.WHAT, help="One row: print its sums stage by stage."
        ),
    ] = None
    convention: options.MaybeConvention = None
    params: options.Set = None
    host: options.Host = None
    way: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=options.WHAT, help="With --row: a way of counting, as samples-at-8 or per-output-pixel."
        ),
    ] = None
    version: Annotated[
        str | None,
        typer.Option(rich_help_panel=options.WHAT, help="With --row: another version of the module, as raw-a2u."),
    ] = None

    @property
    def assumes(self) -> bool:
        """Whether any assumption was given."""
        return any(given is not None for given in (self.convention, self.params, self.host, self.way, self.version))


def command(
    show: TableOptions,
    table: Annotated[
        str | None,
        typer.Argument(
            metavar="TABLE|FILE",
            autocompletion=completion.tables,
            help="A published table, as lda-aqu/table1, or a YAML file.",
        ),
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", rich_help_panel=options.WHAT, help="List the published tables instead.")
    ] = False,
    *,
    row: RowOptions,
    records: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE.jsonl",
            rich_help_panel=options.WHAT,
            help="Measured records, whose latency ratios are laid beside published ones. May be repeated.",
        ),
    ] = None,
) -> None:
    """Count what papers print: published, ours, the convention that gives it, verdict."""
    if row.row is None and row.assumes:
        raise UpbenchError("--convention, --set, --host, --way and --version are about one row; give --row as well")
    if (listed and (table is not None or row.row is not None)) or (row.row is not None and table is None):
        raise UpbenchError(
            "--list takes no table, and --row needs one, as `upbench reproduce lda-aqu/table1 --row FADE`"
        )
    if records and (listed or row.row is not None):
        raise UpbenchError("--records is about latencies, which neither --list nor --row shows; leave it out")
    output.check_targets(show)
    from upbench.papers import published

    if listed:
        _list(show)
    elif table is None:
        _all([published.table(name) for name in published.names()], records or [], show)
    else:
        one = published.read_table(Path(table)) if drafts.is_file(table) else published.table(table)
        if row.row is not None:
            _row(one, row, show)
        else:
            _one(one, records or [], show)


def _all(published: Sequence[Published], records: Sequence[Path], show: ShowOptions) -> None:
    """Count every published table again: print an overview, or the whole page as Markdown."""
    from upbench.report.reproduce import latency, page, tables
    from upbench.reproduce.audit import audit
    from upbench.reproduce.hypotheses import hypotheses

    measured = latency.read(records)
    result = audit(published, _counts(), hypotheses(), [])
    output.show(
        [tables.overview(result)],
        show,
        lambda: json.dumps(tables.rows(result.findings, result.search), indent=2),
        markdown=lambda: page.page(result, published, _per_pixel(), latency.text(published, measured, hypotheses())),
    )


def _one(published: Published, records: Sequence[Path], show: ShowOptions) -> None:
    """Count one published table again, figure by figure."""
    from upbench.papers.published import siblings
    from upbench.report.reproduce import latency, tables
    from upbench.reproduce import formulas
    from upbench.reproduce.audit import audit
    from upbench.reproduce.hypotheses import hypotheses

    measured = latency.read(records)
    if published.device is not None:
        sheet = latency.latency_table(published, measured, hypotheses())
    elif any(row.formulas for row in published.rows):
        sheet = tables.formulas(published, formulas.check([published], _per_pixel(), hypotheses()))
    else:
        sheet = tables.published_table(published, audit([published], _counts(), hypotheses(), siblings(published)))
    _sheets([sheet], show)


def _sheets(sheets: Sequence[Table], show: ShowOptions) -> None:
    """Print tables one below another; the rows of all as JSON, and as CSV one file after another."""
    output.show(
        sheets,
        show,
        lambda: output.rows(*sheets),
        csv=lambda: "\n".join(render.csv(sheet) for sheet in sheets),
    )


def _list(show: ShowOptions) -> None:
    from upbench.papers import published
    from upbench.reproduce.claims import collect
    from upbench.reproduce.hypotheses import hypotheses

    raw: list[list[Any]] = []
    for name in published.names():
        table = published.table(name)
        claims, _ = collect(table, hypotheses())
        figures = [sum(c.quantity == q for c in claims) for q in ("params", "flops")]
        raw.append([name, table.title, table.source.venue, len(table.rows), *figures])
    heads = ["table", "title", "venue", "rows", "params", "flops"]
    shown = [[str(cell) for cell in line] for line in raw]
    notes = ["params, flops: figures that can be counted again. `upbench reproduce TABLE` does."]
    sheet = Table(
        "Published tables",
        [h.capitalize() for h in heads],
        shown,
        [False, False, False, True, True, True],
        heads,
        raw,
        notes,
    )
    _sheets([sheet], show)


def _row(table: Published, wanted: RowOptions, show: ShowOptions) -> None:
    """Print the sums of one row, term by term."""
    from upbench.cli.reproduce_row import sums

    changes = drafts.assignments(wanted.params)
    label = str(wanted.row)
    found = sums(table, label, wanted.convention, changes, wanted.host, wanted.way, wanted.version, _counts())
    _sheets(found, show)


def _counts() -> Any:
    """Return a function that counts built modules at stages, on one thread: for maps so small more would only wait."""
    import torch

    from upbench.measure import host_counts

    torch.set_num_threads(1)

    def counts(upsampler: str, params: Any, stage: Any, quantity: str) -> Any:
        shape = (stage.channels, stage.guide_channels, stage.scale)
        if quantity == "params":
            return host_counts.parameters(upsampler, tuple(sorted(params.items())), *shape)
        return host_counts.count(upsampler, params, *shape, stage.height, stage.width, stage.batch)

    return counts


def _per_pixel() -> Any:
    from upbench.measure import host_counts

    return host_counts.per_pixel
