"""`upbench profile NAME|FILE`: everything about one upsampler on one feature."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from upbench import conventions
from upbench.cli import drafts, options, output
from upbench.cli.options import RunOptions, ShowOptions


def command(
    item: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="An upsampler, package.module:Class, or a spec file.")
    ],
    run: RunOptions,
    show: ShowOptions,
    convention: options.Convention = conventions.DEFAULT,
    by_op: Annotated[bool, typer.Option("--by-op", help="Print which operators the MACs are of.")] = False,
) -> None:
    """Measure parameters, MACs, latency and memory of one upsampler."""
    from upbench.specs import run_spec as spec

    data, source = drafts.draft(item, run.given(), run.assigned())
    run_spec = spec.load(data, source)
    output.check(show.output_file, show.form)

    from upbench.cli.progress import Progress
    from upbench.report.tables import comparison
    from upbench.session import opening

    with opening.opened([run_spec]) as session:
        session.validate([run_spec])
        with Progress() as progress:
            (record,) = session.compare([run_spec], progress)
    tables = [comparison.operators_table(record) if by_op else comparison.profile_table(record, convention)]
    output.show(tables, show, lambda: json.dumps(record.to_dict(), indent=2))
