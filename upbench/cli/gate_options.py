"""Options that make `upbench compare` and `upbench diff` a gate."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import typer

from upbench import metrics
from upbench.cli.existing_files import output_path

PANEL = "Gates (exit code 1 when one fails)"


@dataclass(frozen=True)
class JudgeOptions:
    """Options on how differences between an old and a new measurement are judged."""

    tolerance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=PERCENT|off", rich_help_panel=PANEL, help="As peak-memory=1%; exact metrics have none."
        ),
    ] = None
    threshold: Annotated[
        str | None,
        typer.Option(metavar="PERCENT", rich_help_panel=PANEL, help="Slowdown that fails a latency gate. Default: 5%."),
    ] = None
    strict: Annotated[
        bool, typer.Option("--strict", rich_help_panel=PANEL, help="What is unsure, or only in the new file, fails.")
    ] = False
    junit: Annotated[
        Path | None,
        typer.Option(
            "--junit",
            metavar="FILE",
            parser=output_path,
            rich_help_panel=PANEL,
            help="Write the gates as JUnit XML.",
        ),
    ] = None


@dataclass(frozen=True)
class GateOptions(JudgeOptions):
    """Options that make a comparison a gate."""

    maximum: Annotated[
        list[str] | None,
        typer.Option(
            "--max",
            metavar="METRIC=VALUE",
            rich_help_panel=PANEL,
            help="Upper bound, for all or for one: params=40k, carafe.macs=1.2G, peak-memory=200MiB, "
            f"latency=3x:bilinear. Metrics: {', '.join(metrics.with_evidence())}. Latency in seconds (latency=12ms) is "
            "fragile: it holds for one machine.",
        ),
    ] = None
    minimum: Annotated[
        list[str] | None, typer.Option("--min", metavar="METRIC=VALUE", rich_help_panel=PANEL, help="Lower bound.")
    ] = None
    budgets: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel=PANEL, help="Bounds in YAML, with max, min, tolerance, upsamplers."
        ),
    ] = None
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=output_path,
            rich_help_panel=PANEL,
            help="Write a baseline, whatever the gates say.",
        ),
    ] = None
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=PANEL, help="Compare with a baseline: what is exact, exactly."),
    ] = None
    against: Annotated[
        str | None,
        typer.Option(
            metavar="GIT_REF",
            rich_help_panel=PANEL,
            help="Compare the current files with a commit: both versions in turn, in processes of their own.",
        ),
    ] = None
    against_python: Annotated[
        str | None, typer.Option(metavar="PYTHON", rich_help_panel=PANEL, help="The same with what another Python has.")
    ] = None
    like: Annotated[
        str | None,
        typer.Option(metavar="NAME", rich_help_panel=PANEL, help="Your module must equal this one, given its weights."),
    ] = None
    exact: Annotated[
        bool,
        typer.Option("--exact", rich_help_panel=PANEL, help="Only what is exact: counts, memory, output; no timing."),
    ] = False

    @property
    def any(self) -> bool:
        """Whether any gate was given; without one, a comparison reports only failed checks."""
        bounds = self.maximum or self.minimum or self.budgets
        return bool(bounds or self.baseline or self.like or self.between or self.junit)

    @property
    def mentioned(self) -> bool:
        """Whether any option was given."""
        return self.any or self.strict or self.exact or bool(self.save or self.tolerance or self.threshold)

    @property
    def given(self) -> dict[str, object]:
        """Every option as it is typed -> the value that was given."""
        typed = {"maximum": "max", "minimum": "min"}
        return {f"--{typed.get(f.name, f.name.replace('_', '-'))}": getattr(self, f.name) for f in fields(self)}

    @property
    def of_one_work(self) -> dict[str, object]:
        """Options that hold for one shape only -> the value that was given."""
        return {"--save": self.save, "--baseline": self.baseline, "--like": self.like}

    @property
    def between(self) -> bool:
        """Whether two versions are compared."""
        return self.against is not None or self.against_python is not None
