"""Options of `upbench compare` that make it a gate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from upbench import metrics

PANEL = "Gates (exit code 1 when one fails)"

Max = Annotated[
    list[str] | None,
    typer.Option(
        "--max",
        metavar="METRIC=VALUE",
        rich_help_panel=PANEL,
        help="Upper bound, for all or for one: params=40k, carafe.macs=1.2G, peak-memory=200MiB, latency=3x:bilinear. "
        f"Metrics: {', '.join(metrics.with_evidence())}. Latency in "
        "seconds (latency=12ms) is fragile: it holds for one machine.",
    ),
]
Min = Annotated[
    list[str] | None, typer.Option("--min", metavar="METRIC=VALUE", rich_help_panel=PANEL, help="Lower bound.")
]
Budgets = Annotated[
    Path | None,
    typer.Option(metavar="FILE", rich_help_panel=PANEL, help="Bounds in YAML, with max, min, tolerance, upsamplers."),
]
Tolerance = Annotated[
    list[str] | None,
    typer.Option(
        metavar="METRIC=PERCENT|off", rich_help_panel=PANEL, help="As peak-memory=1%; exact metrics have none."
    ),
]
Save = Annotated[
    Path | None, typer.Option(metavar="FILE", rich_help_panel=PANEL, help="Write a baseline, whatever the gates say.")
]
Baseline = Annotated[
    Path | None,
    typer.Option(metavar="FILE", rich_help_panel=PANEL, help="Compare with a baseline: what is exact, exactly."),
]
Against = Annotated[
    str | None,
    typer.Option(
        metavar="GIT_REF",
        rich_help_panel=PANEL,
        help="Compare the current files with a commit: both versions in turn, in processes of their own.",
    ),
]
AgainstPython = Annotated[
    str | None, typer.Option(metavar="PYTHON", rich_help_panel=PANEL, help="The same with what another Python has.")
]
Like = Annotated[
    str | None,
    typer.Option(metavar="NAME", rich_help_panel=PANEL, help="Your module must equal this one, given its weights."),
]
Threshold = Annotated[
    str | None,
    typer.Option(metavar="PERCENT", rich_help_panel=PANEL, help="Slowdown that fails a latency gate. Default: 5%."),
]
Exact = Annotated[
    bool, typer.Option("--exact", rich_help_panel=PANEL, help="Only what is exact: counts, memory, output; no timing.")
]
Strict = Annotated[bool, typer.Option("--strict", rich_help_panel=PANEL, help="What is unsure fails.")]
JUnit = Annotated[
    Path | None, typer.Option("--junit", metavar="FILE", rich_help_panel=PANEL, help="Write the gates as JUnit XML.")
]
