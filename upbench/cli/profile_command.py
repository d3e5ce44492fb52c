"""`upbench profile NAME|FILE`: everything about one upsampler on one feature."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from upbench import conventions
from upbench.cli import options, output


def command(
    item: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="An upsampler, package.module:Class, or a spec file.")
    ],
    shape: options.Shape = None,
    params: options.Set = None,
    scale: options.Scale = None,
    batch: options.Batch = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
    mode: options.Mode = None,
    threads: options.Threads = None,
    budget: options.Budget = None,
    seed: options.Seed = None,
    offsets: options.Offsets = None,
    compile_mode: options.Compile = None,
    memory_format: options.MemoryFormat = None,
    backend: options.Backend = None,
    convention: options.Convention = conventions.DEFAULT,
    by_op: Annotated[bool, typer.Option("--by-op", help="Print which operators the MACs are of.")] = False,
    form: options.Formatted = options.Format.table,
    output_file: options.Output = None,
) -> None:
    """Measure parameters, MACs, latency and memory of one upsampler."""
    from upbench.specs import run_spec as spec

    given = options.overrides(
        shape, scale, batch, dtype, device, mode, threads, budget, seed, offsets, compile_mode, memory_format, backend
    )
    data, source = options.draft(item, given, options.assignments(params))
    run_spec = spec.load(data, source)
    output.check(output_file)

    from upbench import run
    from upbench.cli.progress import Progress
    from upbench.report.tables import comparison

    run.validate([run_spec])
    with Progress() as progress:
        record = run.run(run_spec, progress)
    if form is options.Format.json:
        output.emit(json.dumps(record.to_dict(), indent=2), output_file)
    else:
        output.emit(
            output.render(comparison.by_op(record) if by_op else comparison.single(record, convention), form),
            output_file,
        )
