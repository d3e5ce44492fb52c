"""`upbench list`: every upsampler, named shape, host, measured quantity or known difference between paper and code.

Reads cards only, so that it needs no torch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from upbench import cards, registry, units
from upbench.cli import options, output
from upbench.cli.options import ShowOptions
from upbench.errors import UpbenchError
from upbench.report import metrics_page
from upbench.report import paper_differences as notes_page
from upbench.report.formats.table import Table
from upbench.specs import shapes

CHANNELS = 256
SCALES = {"any": "any", "integer": "whole", "2": "2"}


def command(
    show: ShowOptions,
    named: Annotated[bool, typer.Option("--shapes", help="List the named shapes instead.")] = False,
    notes: options.Notes = False,
    hosts: Annotated[
        bool, typer.Option("--hosts", help="List the host models and their upsampling stages instead.")
    ] = False,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="List the measured quantities and their names, as Markdown.")
    ] = False,
) -> None:
    """List the upsamplers: paper, guided or not, scales, parameters, MACs."""
    output.check(show.output_file, show.form)
    lists = {"--shapes": named, "--notes": notes, "--hosts": hosts, "--metrics": metrics}
    chosen = [option for option, given in lists.items() if given]
    if len(chosen) > 1:
        raise UpbenchError(f"{' and '.join(chosen)} are {len(chosen)} lists; ask for one of them")
    if notes:
        output.emit(notes_page.page(list(cards.builtin().values())), show.output_file)
        return
    if metrics:
        output.emit(metrics_page.page(), show.output_file)
        return
    table = _shapes() if named else _hosts() if hosts else _upsamplers()
    output.show([table], show, lambda: output.rows(table))


def _upsamplers() -> Table:
    raw, rows = [], []
    for name, card in cards.builtin().items():
        setting = registry.setting_of(card, CHANNELS, None, 2, {})
        count = card.count_params(setting) if card.count_params else None
        conv, gather = _macs_per_pixel(card, setting)
        paper, summary = card.paper, card.summary
        title, venue, year = (paper.title, paper.venue, paper.year) if paper else (None, None, None)
        raw.append([name, title, venue, year, card.guided, card.scales, count, conv, gather, summary])
        guided = "yes" if card.guided else "no"
        source = f"{venue} {year}" if venue else units.DASH
        rows.append([name, source, guided, SCALES[card.scales], *map(units.exact, (count, conv, gather)), summary])
    for name, point in registry.plugins().items():
        unknown: list[Any] = [None] * 9
        raw.append([name, *unknown])
        rows.append([name, f"from {point.value}", *[units.DASH] * 6])
    return Table(
        title="Upsamplers",
        heads=["Name", "Paper", "Guided", "Scales", "Params", "Conv", "Gather", "What it does"],
        rows=rows,
        numeric=[False, False, False, False, True, True, True, False],
        raw_heads=[
            "name",
            "paper",
            "venue",
            "year",
            "guided",
            "scales",
            "params",
            "macs_conv_per_pixel",
            "macs_gather_per_pixel",
            "summary",
        ],
        raw_rows=raw,
        notes=[
            f"Params and multiply-accumulates per low-resolution pixel (conv: convolutions and linear layers; gather: "
            f"sampling, similarity, assembly) at {CHANNELS} channels, scale 2; what a method does once a sample is left out.",
            "`upbench show NAME` prints the full spec. Your own upsampler: package.module:Class.",
        ],
    )


def _macs_per_pixel(card: cards.Card, setting: cards.Setting) -> tuple[int | None, int | None]:
    """Return the conv and gather MACs that one more low-resolution pixel costs."""
    if card.count_macs is None:
        return None, None
    one, two = (card.count_macs(replace(setting, width=width)) for width in (1, 2))
    return two.conv - one.conv, two.gather - one.gather


def _hosts() -> Table:
    from upbench import papers
    from upbench.report.tables import hosts

    return hosts.listing(list(papers.hosts().values()), list(papers.aliases().values()))


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
