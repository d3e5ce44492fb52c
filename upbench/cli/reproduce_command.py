"""`upbench reproduce`: the complexity figures that papers print, counted again at the places where the papers put them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from upbench.cli import options, output
from upbench.cli.options import ShowOptions
from upbench.errors import UpbenchError
from upbench.report.formats import render
from upbench.report.formats.table import Table


def command(
    show: ShowOptions,
    table: Annotated[
        str | None, typer.Argument(metavar="TABLE|FILE", help="A published table, as lda-aqu/table1, or a YAML file.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the published tables instead.")] = False,
    row: Annotated[
        str | None, typer.Option(metavar="LABEL|NUMBER", help="One row: print its sums stage by stage.")
    ] = None,
    convention: options.MaybeConvention = None,
    params: options.Set = None,
    host: options.Host = None,
    way: Annotated[
        str | None, typer.Option(help="With --row: a way of counting, as samples-at-8 or per-output-pixel.")
    ] = None,
    version: Annotated[str | None, typer.Option(help="With --row: another version of the module, as raw-a2u.")] = None,
    records: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE.jsonl",
            help="Measured records, whose latency ratios are laid beside published ones. May be repeated.",
        ),
    ] = None,
) -> None:
    """Count what papers print: published, ours, the convention that gives it, verdict."""
    details = (convention, params, host, way, version)
    if row is None and any(d is not None for d in details):
        raise UpbenchError("--convention, --set, --host, --way and --version are about one row; give --row as well")
    if (listed and (table is not None or row is not None)) or (row is not None and table is None):
        raise UpbenchError(
            "--list takes no table, and --row needs one, as `upbench reproduce lda-aqu/table1 --row FADE`"
        )
    if records and (listed or row is not None):
        raise UpbenchError("--records is about latencies, which neither --list nor --row shows; leave it out")
    output.check(show.output_file)
    from upbench.papers import published

    if listed:
        _list(show)
        return
    if table is None:
        chosen = [published.table(name) for name in published.names()]
    elif options.is_file(table):
        chosen = [published.read_table(Path(table))]
    else:
        chosen = [published.table(table)]
    if row is not None:
        _row(chosen[0], row, details, show)
        return

    from upbench.report.reproduce import latency, page, tables
    from upbench.reproduce import formulas
    from upbench.reproduce.audit import audit
    from upbench.reproduce.hypotheses import hypotheses

    measured = latency.read(records or [])
    if table is not None and chosen[0].device is not None:
        _sheets([latency.sheet(chosen[0], measured, hypotheses())], show)
        return
    others = published.siblings(chosen[0]) if table is not None else []
    found = audit(chosen, _counts(), hypotheses(), others)
    if table is None and show.form == "markdown":
        text = latency.text(chosen, measured, hypotheses())
        output.emit(page.page(found, chosen, _per_pixel(), text), show.output_file)
    elif table is None:
        rows = json.dumps(tables.rows(found.findings, found.search), indent=2)
        output.show([tables.overview(found)], show, lambda: rows)
    elif any(row.formulas for row in chosen[0].rows):
        checked = formulas.check(chosen, _per_pixel(), hypotheses())
        _sheets([tables.formulas(chosen[0], checked)], show)
    else:
        _sheets([tables.beside(chosen[0], found)], show)


def _sheets(sheets: Sequence[Table], show: ShowOptions) -> None:
    """Print tables one below another; the rows of all as JSON, and as CSV one file after another."""
    if show.form == "csv":
        output.emit("\n".join(render.render([sheet], show.form) for sheet in sheets), show.output_file)
    else:
        output.show(sheets, show, lambda: output.rows(*sheets))


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


def _row(table: Any, row: str, details: tuple[Any, ...], show: ShowOptions) -> None:
    """The sums of one row, term by term."""
    from upbench.cli.reproduce_row import sums

    convention, params, host, way, version = details
    changes = options.assignments(params)
    _sheets(sums(table, row, convention, changes, host, way, version, _counts()), show)


def _counts() -> Any:
    """Counts of built modules at stages. Their maps are tiny: more than one thread would only wait for the others."""
    import torch

    from upbench.measure import place

    torch.set_num_threads(1)

    def counts(upsampler: str, params: Any, stage: Any, quantity: str) -> Any:
        shape = (stage.channels, stage.guide_channels, stage.scale)
        if quantity == "params":
            return place.parameters(upsampler, tuple(sorted(params.items())), *shape)
        return place.count(upsampler, params, *shape, stage.height, stage.width, stage.batch)

    return counts


def _per_pixel() -> Any:
    from upbench.measure import place

    return place.per_pixel
