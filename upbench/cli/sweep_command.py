"""`upbench sweep FILE`: every cell of a grid, a record each, and the table at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from upbench import conventions
from upbench.cli import options, output
from upbench.errors import OutputError

TABLES = (".md", ".csv")


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A sweep, as sweeps/theta.yaml.")],
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
    convention: options.Convention = conventions.DEFAULT,
    form: options.Formatted = options.Format.table,
    output_file: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE.jsonl", help="The results file. Default: results/<name>.jsonl."),
    ] = None,
    fresh: Annotated[bool, typer.Option(help="Measure every cell again; the old results file is kept beside.")] = False,
) -> None:
    """Measure every cell of a grid; writes results/<name>.jsonl as it goes, then .md and .csv.

    Cells that the results file has already, with the same spec, device and versions, are not measured again.
    """
    from upbench import files, grid, store, sweep

    given = options.overrides(
        shape, scale, batch, dtype, device, mode, threads, budget, seed, offsets, compile_mode, memory_format
    )
    plan = grid.read(file)
    chosen = {**given, **options.assignments(params)}
    cells = grid.expand(plan, str(file), chosen)
    path = output_file or Path("results") / f"{plan.name}.jsonl"
    if path.suffix in TABLES:
        raise OutputError(
            f"--output {path} is the results file, beside which the tables are written; let it end in .jsonl"
        )
    output.check(path)
    for suffix in TABLES:
        output.check(path.with_suffix(suffix))
    if fresh:
        files.set_aside(path)
    known = store.read(path)

    from upbench.cli.progress import Progress
    from upbench.report import formats, table

    with Progress() as progress:
        records = sweep.run_cells(cells, path, known, progress)
    if not records:
        raise typer.Exit(130)
    result = table.sweep(records, list(plan.grid), plan.title or plan.name, convention)
    files.write_text(path.with_suffix(".md"), formats.markdown(result))
    files.write_text(path.with_suffix(".csv"), formats.csv(result))
    if form is options.Format.json:
        output.emit(json.dumps([record.to_dict() for record in records], indent=2), None)
    else:
        output.emit(output.render(result, form), None)
    typer.echo(f"upbench: {path} and its .md and .csv hold {len(records)} of {len(cells)} cells", err=True)
    if len(records) < len(cells):
        raise typer.Exit(130)
