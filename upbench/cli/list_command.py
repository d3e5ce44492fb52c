"""`upbench list`: every upsampler, or every named shape. Reads cards only, so that it needs no torch."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from upbench import cards, registry, shapes, units
from upbench.cli import options, output
from upbench.report.sheet import Table

CHANNELS = 256
SCALES = {"any": "any", "integer": "whole", "2": "2"}


def command(
    named: Annotated[bool, typer.Option("--shapes", help="List the named shapes instead.")] = False,
    form: options.Formatted = options.Format.table,
    output_file: options.Output = None,
) -> None:
    """List the upsamplers: paper, guided or not, scales, parameters."""
    output.check(output_file)
    table = _shapes() if named else _upsamplers()
    if form is options.Format.json:
        rows = [dict(zip(table.raw_heads, row, strict=True)) for row in table.raw_rows]
        output.emit(json.dumps(rows, indent=2), output_file)
    else:
        output.emit(output.render(table, form), output_file)


def _upsamplers() -> Table:
    raw: list[list[Any]] = []
    for name, card in cards.builtin().items():
        setting = registry.setting_of(card, CHANNELS, None, 2, {})
        count = card.count_params(setting) if card.count_params else None
        paper = card.paper
        raw.append(
            [
                name,
                paper and paper.title,
                paper and paper.venue,
                paper and paper.year,
                card.guided,
                card.scales,
                count,
                card.summary,
            ]
        )
    for name, point in registry.plugins().items():
        raw.append([name, point.value, None, None, None, None, None, None])
    rows = [
        [
            name,
            _source(venue, year) if title is None or venue else f"from {title}",
            units.DASH if guided is None else "yes" if guided else "no",
            SCALES.get(scales, units.DASH),
            units.exact(count),
            summary or units.DASH,
        ]
        for name, title, venue, year, guided, scales, count, summary in raw
    ]
    return Table(
        title="Upsamplers",
        heads=["Name", "Paper", "Guided", "Scales", f"Params C={CHANNELS}", "What it does"],
        rows=rows,
        numeric=[False, False, False, False, True, False],
        raw_heads=["name", "paper", "venue", "year", "guided", "scales", "params", "summary"],
        raw_rows=raw,
        notes=["`upbench show NAME` prints the full spec. Your own upsampler: package.module:Class."],
    )


def _shapes() -> Table:
    raw = [[name, shapes.text(entry.shape), entry.where] for name, entry in shapes.NAMED.items()]
    return Table(
        title="Named shapes (low-resolution features)",
        heads=["Name", "Shape", "Where"],
        rows=raw,
        numeric=[False, False, False],
        raw_heads=["name", "shape", "where"],
        raw_rows=raw,
    )


def _source(venue: str | None, year: int | None) -> str:
    return f"{venue} {year}" if venue and year else units.DASH
