"""`upbench reproduce`: the complexity figures that papers print, counted again at the places where the papers put them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from upbench.cli import options, output
from upbench.cli.options import Format
from upbench.errors import UpbenchError
from upbench.report.formats.table import Table


def command(
    table: Annotated[
        str | None, typer.Argument(metavar="TABLE|FILE", help="A published table, as lda-aqu/table1, or a YAML file.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the published tables instead.")] = False,
    row: Annotated[
        str | None, typer.Option(metavar="LABEL|NUMBER", help="One row: print its sums stage by stage.")
    ] = None,
    convention: Annotated[
        str | None, typer.Option(metavar="P0..P2|F0..F4|all", help="With --row: what to add up; all: every MAC.")
    ] = None,
    params: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="With --row: another value of a parameter. May be repeated."),
    ] = None,
    host: Annotated[
        str | None, typer.Option(metavar="NAME[/VARIANT]|FILE", help="With --row: other stages than the table's.")
    ] = None,
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
    form: options.Formatted = Format.table,
    output_file: options.Output = None,
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
    output.check(output_file)
    from upbench.papers import published

    if listed:
        _emit_list(form, output_file)
        return
    if table is None:
        chosen = [published.table(name) for name in published.names()]
    elif options.is_file(table):
        chosen = [published.read_table(Path(table))]
    else:
        chosen = [published.table(table)]
    if row is not None:
        _emit_row(chosen[0], row, details, form, output_file)
        return

    from upbench.report.reproduce import latency, page, tables
    from upbench.reproduce import formulas
    from upbench.reproduce.audit import audit
    from upbench.reproduce.hypotheses import hypotheses

    measured = latency.read(records or [])
    if table is not None and chosen[0].device is not None:
        _emit_sheet(latency.sheet(chosen[0], measured, hypotheses()), form, output_file)
        return
    others = published.siblings(chosen[0]) if table is not None else []
    found = audit(chosen, _counts(), hypotheses(), others)
    if table is None and form is Format.json:
        output.emit(json.dumps(tables.rows(found.findings, found.search), indent=2), output_file)
    elif table is None and form is Format.markdown:
        text = latency.text(chosen, measured, hypotheses())
        output.emit(page.page(found, chosen, _per_pixel(), text), output_file)
    elif table is None:
        output.emit(output.render(tables.overview(found), form), output_file)
    elif any(row.formulas for row in chosen[0].rows):
        checked = formulas.check(chosen, _per_pixel(), hypotheses())
        _emit_sheet(tables.formulas(chosen[0], checked), form, output_file)
    else:
        _emit_sheet(tables.beside(chosen[0], found), form, output_file)


def _emit_sheet(sheet: Table, form: Format, output_file: Path | None) -> None:
    if form is Format.json:
        rows = [dict(zip(sheet.raw_heads, line, strict=True)) for line in sheet.raw_rows]
        output.emit(json.dumps(rows, indent=2), output_file)
    else:
        output.emit(output.render(sheet, form), output_file)


def _emit_list(form: Format, output_file: Path | None) -> None:
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
    _emit_sheet(sheet, form, output_file)


def _emit_row(table: Any, row: str, details: tuple[Any, ...], form: Format, output_file: Path | None) -> None:
    """The sums of one row, term by term."""
    from upbench.cli.reproduce_row import sums

    convention, params, host, way, version = details
    changes = options.assignments(params)
    sheets = sums(table, row, convention, changes, host, way, version, _counts())
    if form is Format.json:
        found = [dict(zip(s.raw_heads, line, strict=True)) for s in sheets for line in s.raw_rows]
        output.emit(json.dumps(found, indent=2), output_file)
    else:
        output.emit("\n".join(output.render(sheet, form) for sheet in sheets), output_file)


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
