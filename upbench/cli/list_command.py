"""`upbench list`: every upsampler, named shape, host, measured quantity or known difference between paper and code.

Reads cards only, so that it needs no torch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from upbench import cards, registry, units
from upbench.cli import options, output
from upbench.cli.show_options import ShowOptions
from upbench.errors import UpbenchError
from upbench.report import metrics_page
from upbench.report import paper_differences as notes_page
from upbench.report.formats.table import Table
from upbench.specs import shapes

CHANNELS = 256
BRIEF = [
    f"Conv, Gather: MACs per low-resolution pixel at {CHANNELS} channels, scale 2 or the only one.",
    "A dash: every pixel attends to all, so there is no one number.",
    "`upbench show NAME` prints the spec. -v prints all notes.",
]
"""What is said of the upsamplers where little is said."""
SCALES = {"any": "any", "integer": "whole"}

RAW = [
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
    "licence",
    "guides",
    "any_size",
    "output_channels",
    "outputs",
    "batch_independent",
    "guide_gradient",
    "dead_parameters",
    "least_size",
    "rounding",
]


def command(
    show: ShowOptions,
    named: Annotated[
        bool, typer.Option("--shapes", rich_help_panel=options.WHAT, help="List the named shapes instead.")
    ] = False,
    notes: options.Notes = False,
    hosts: Annotated[
        bool,
        typer.Option(
            "--hosts", rich_help_panel=options.WHAT, help="List the host models and their upsampling stages instead."
        ),
    ] = False,
    metrics: Annotated[
        bool,
        typer.Option(
            "--metrics", rich_help_panel=options.WHAT, help="List the measured quantities and their names, as Markdown."
        ),
    ] = False,
) -> None:
    """List the upsamplers: paper, guided or not, scales, parameters, MACs."""
    output.check_targets(show)
    lists = {"--shapes": named, "--notes": notes, "--hosts": hosts, "--metrics": metrics}
    chosen = [option for option, given in lists.items() if given]
    if len(chosen) > 1:
        raise UpbenchError(f"{' and '.join(chosen)} are {len(chosen)} lists; ask for one of them")
    if notes:
        output.emit_page(notes_page.page(list(cards.builtin().values())), show)
        return
    if metrics:
        output.emit_page(metrics_page.page(), show)
        return
    table = _shapes() if named else _hosts() if hosts else _upsamplers()
    output.show([table], show, lambda: output.rows(table))


def _upsamplers() -> Table:
    raw, rows = [], []
    for name, card in cards.builtin().items():
        setting = registry.setting_of(card, CHANNELS, None, None, {})
        count = card.count_params(setting) if card.count_params else None
        conv, gather = _macs_per_pixel(card, setting)
        paper, summary = card.paper, card.summary
        title, venue, year = (paper.title, paper.venue, paper.year) if paper else (None, None, None)
        licence = paper.licence if paper else None
        promises = [
            card.any_size,
            card.output_channels(setting),
            list(card.outputs),
            card.batch_independent,
            card.guide_gradient,
            list(card.dead_parameters(setting)),
            card.least_size(setting),
            card.rounding,
        ]
        kinds = [guide.kind for guide in card.guides]
        raw.append(
            [
                name,
                title,
                venue,
                year,
                card.guided,
                card.scales,
                count,
                conv,
                gather,
                summary,
                licence,
                kinds,
                *promises,
            ]
        )
        source = f"{venue} {year}" if venue else units.DASH
        scales = SCALES.get(card.scales, card.scales)
        numbers = map(units.exact, (count, conv, gather))
        rows.append([name, source, _guides(kinds), scales, *numbers, licence or units.DASH, summary])
    for name, point in registry.plugins().items():
        raw.append([name, *[None] * (len(RAW) - 1)])
        rows.append([name, f"from {point.value}", *[units.DASH] * 7])
    return Table(
        title="Upsamplers",
        heads=["Name", "Paper", "Guided", "Scales", "Params", "Conv", "Gather", "Licence", "What it does"],
        rows=rows,
        numeric=[False, False, False, False, True, True, True, False, False],
        raw_heads=RAW,
        raw_rows=raw,
        notes=[
            f"Params and multiply-accumulates per low-resolution pixel (conv: convolutions and linear layers; gather: "
            f"sampling, similarity, assembly) at {CHANNELS} channels, scale 2 or the only one; what a method does once a sample is left out. A dash: no one number, "
            f"because every pixel attends to all. Licence: of the released code.",
            "`upbench show NAME` prints the full spec. Your own upsampler: package.module:Class.",
        ],
        brief=BRIEF,
        lead=1,
    )


def _macs_per_pixel(card: cards.Card, setting: cards.Setting) -> tuple[int | None, int | None]:
    """Return the conv and gather MACs that one more low-resolution pixel costs, None where that is not one number."""
    if card.count_macs is None:
        return None, None
    # From eight pixels on: the image of a smaller map can be too small to be shrunk as a large one is.
    counts = [card.count_macs(replace(setting, height=8, width=width)) for width in (8, 9, 10)]
    found: list[int | None] = []
    for kind in ("conv", "gather"):
        one, two, three = (getattr(count, kind) for count in counts)
        found.append((two - one) // 8 if two - one == three - two else None)
    return found[0], found[1]


def _guides(kinds: list[str]) -> str:
    """Return how a table names guides: no, feature, image, 2 features."""
    return "no" if not kinds else kinds[0] if len(kinds) == 1 else f"{len(kinds)} {kinds[0]}s"


def _hosts() -> Table:
    from upbench import papers
    from upbench.report.tables import hosts

    return hosts.listing(list(papers.hosts().values()), list(papers.aliases().values()))


def _shapes() -> Table:
    raw = [
        [
            name,
            shapes.text(entry.shape),
            *(shapes.text(s) if s else None for s in (entry.image, entry.output)),
            entry.where,
        ]
        for name, entry in shapes.NAMED.items()
    ]
    return Table(
        title="Named shapes (low-resolution features, the image they are made of and the output they become)",
        heads=["Name", "Shape", "Image", "Output", "Where"],
        rows=[[units.DASH if cell is None else cell for cell in row] for row in raw],
        numeric=[False] * 5,
        raw_heads=["name", "shape", "image", "output", "where"],
        raw_rows=raw,
    )
