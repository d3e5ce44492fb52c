"""`upbench profile NAME|FILE`: everything about one upsampler on one feature."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from upbench import conventions
from upbench.cli import completion, drafts, interrupts, options, output
from upbench.cli.options import RunOptions
from upbench.cli.show_options import ShowOptions, TableOptions
from upbench.errors import SpecError

if TYPE_CHECKING:
    from upbench.records.record import Record
    from upbench.specs.run_spec import RunSpec

WARNINGS = 3
"""Warnings that are printed in full, since a look at the others is another measurement."""


def command(
    item: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE",
            autocompletion=completion.upsamplers,
            help="An upsampler, package.module:Class, or a spec file.",
        ),
    ],
    run: RunOptions,
    show: TableOptions,
    convention: options.Convention = conventions.DEFAULT,
    by_op: Annotated[
        bool, typer.Option("--by-op", rich_help_panel=options.WHAT, help="Print which operators the MACs are of.")
    ] = False,
    layers: Annotated[
        bool,
        typer.Option(
            "--layers",
            rich_help_panel=options.WHAT,
            help="Print parameters, MACs and output shapes layer by layer, as a tree; nothing is timed.",
        ),
    ] = False,
    counters: Annotated[
        bool,
        typer.Option(
            "--counters",
            rich_help_panel=options.WHAT,
            help="Print what other FLOPs counters would print for it and what each leaves out; nothing is timed.",
        ),
    ] = False,
) -> None:
    """Measure parameters, MACs, latency and memory of one upsampler."""
    from upbench.specs import run_spec as spec

    data, source = drafts.draft(item, run.given(), run.assigned())
    run_spec = spec.load(data, source)
    drafts.check_guide_size(run.given(), [run_spec])
    output.check_targets(show)
    wanted = [name for name, given in (("--layers", layers), ("--by-op", by_op), ("--counters", counters)) if given]
    if len(wanted) > 1:
        number = "two" if len(wanted) == 2 else "three"
        raise SpecError([f"{' and '.join(wanted)} are {number} tables; ask for one of them"])

    from upbench.cli.progress import Progress
    from upbench.report.tables import comparison
    from upbench.session import opening

    with opening.opened([run_spec]) as session:
        session.validate([run_spec])
        if layers:
            _layers(run_spec, show)
            return
        if counters:
            _counters(run_spec, show)
            return
        with Progress() as progress:
            (record,) = session.compare([run_spec], progress)
    table = comparison.operators_table(record) if by_op else comparison.profile_table(record, convention)
    output.show([table], show, lambda: json.dumps(record.to_dict(), indent=2))
    _end(record, show)


def _end(record: Record, show: ShowOptions) -> None:
    """Print the warnings of a record on stderr; exit with 1 where its output is not finite, and with 130 after Ctrl-C, as `compare` does."""
    from upbench.report.tables import facts

    if show.told == "brief":
        for warning in facts.warnings(record)[:WARNINGS]:
            typer.echo(f"upbench: warning: {warning}", err=True)
    if _not_finite(record):
        typer.echo(f"upbench: FAILED {record.label}, check finite: values of the output are not finite", err=True)
        raise typer.Exit(1)
    interrupts.say([record], show, "calls")
    interrupts.end([record])


def _not_finite(record: Record) -> bool:
    """Whether the output has values that are not finite. A digest without a mean alone may be of complex numbers."""
    return any("values that are not finite" in warning for warning in record.warnings)


def _layers(spec: RunSpec, show: ShowOptions) -> None:
    """Print the layers of what a spec describes."""
    from upbench.benchmark import layers
    from upbench.report.tables import layers as report
    from upbench.report.tables import notes

    spec = layers.in_parts(spec)
    table = report.table(layers.of_spec(spec), f"{spec.label}: {notes.condition_of(spec.to_dict())}")
    output.show([table], show, lambda: output.rows(table))


def _counters(spec: RunSpec, show: ShowOptions) -> None:
    """Print what other FLOPs counters would print for what a spec describes."""
    from upbench.benchmark import counters
    from upbench.report.tables import counters as report
    from upbench.report.tables import notes

    predictions, total = counters.of_spec(spec)
    table = report.table(predictions, total, f"{spec.label}: {notes.condition_of(spec.to_dict())}")
    output.show([table], show, lambda: report.document(predictions, total))
