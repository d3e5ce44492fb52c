"""`upbench compare A B C ...`: upsamplers side by side, measured in interleaved rounds."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from upbench import conventions
from upbench.cli import options, output
from upbench.errors import SpecError, unknown


def command(
    items: Annotated[
        list[str],
        typer.Argument(metavar="NAME|FILE...", help="Upsamplers, as ldaaqu or ldaaqu:theta=5,groups=4, or spec files."),
    ],
    shape: options.Shape = None,
    params: options.Set = None,
    reference: Annotated[
        str | None, typer.Option(metavar="NAME", help="The one that ratios are taken to. Default: the first.")
    ] = None,
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
    output_file: options.Output = None,
) -> None:
    """Measure several upsamplers in interleaved rounds and print the ratios of their latency."""
    from upbench import spec

    given = options.overrides(
        shape, scale, batch, dtype, device, mode, threads, budget, seed, offsets, compile_mode, memory_format
    )
    drafts = [options.draft(item, given, {}) for item in items]
    each = options.shared_params(options.assignments(params), [str(data.get("upsampler")) for data, _ in drafts])
    specs: list[spec.RunSpec] = []
    mistakes: list[str] = []
    for (data, source), own in zip(drafts, each, strict=True):
        data["params"] = {**(data.get("params") or {}), **own}
        try:
            specs.append(spec.load(data, source))
        except SpecError as error:
            mistakes += error.mistakes
    if mistakes:
        raise SpecError(list(dict.fromkeys(mistakes)))
    place = _place(reference, items, [s.label for s in specs])
    output.check(output_file)

    from upbench import run
    from upbench.cli.progress import Progress
    from upbench.report import columns, table

    run.validate(specs)
    with Progress() as progress:
        records = run.compare(specs, progress)
    if form is options.Format.json:
        pairs = [columns.paired(record, records[place]) for record in records]
        result: dict[str, Any] = {
            "schema": 1,
            "reference": records[place].label,
            "latency_ratios": [vars(pair) for pair in pairs],
            "verdicts": [columns.verdict(record, records[place]) for record in records],
            "records": [record.to_dict() for record in records],
        }
        output.emit(json.dumps(result, indent=2), output_file)
    else:
        output.emit(output.render(table.comparison(records, records[place], convention), form), output_file)


def _place(reference: str | None, items: list[str], labels: list[str]) -> int:
    """Position of the reference among the upsamplers, by what was typed or by its label."""
    if reference is None:
        return 0
    for names in (items, labels):
        if reference in names:
            return names.index(reference)
    raise unknown("reference", reference, items)
