"""`upbench compare A B C ...`: upsamplers side by side, measured in interleaved rounds."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from upbench import conventions
from upbench.cli import backends, gate_options, gates, options, output
from upbench.errors import SpecError, unknown


def _schema(asked: bool) -> None:
    """Print the JSON Schema of --format json, and end."""
    if asked:
        from upbench.report import gate_documents

        typer.echo(gate_documents.of_compare())
        raise typer.Exit


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
    backend: Annotated[
        str | None, typer.Option(metavar="auto|eager|fused,...", help="One, or several to compare, as eager,fused.")
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE", help="A host model (`upbench list --hosts`, or YAML): the sum of its stages."
        ),
    ] = None,
    host_input: Annotated[
        str | None, typer.Option("--input", metavar="HEIGHTxWIDTH", help="With --host: another size of the image.")
    ] = None,
    by_stage: Annotated[bool, typer.Option("--stages", help="With --host: every stage as well.")] = False,
    maximum: gate_options.Max = None,
    minimum: gate_options.Min = None,
    budgets: gate_options.Budgets = None,
    tolerance: gate_options.Tolerance = None,
    save: gate_options.Save = None,
    baseline: gate_options.Baseline = None,
    against: gate_options.Against = None,
    against_python: gate_options.AgainstPython = None,
    like: gate_options.Like = None,
    threshold: gate_options.Threshold = None,
    exact: gate_options.Exact = False,
    strict: gate_options.Strict = False,
    junit: gate_options.JUnit = None,
    convention: options.Convention = conventions.DEFAULT,
    form: options.Formatted = options.Format.table,
    output_file: options.Output = None,
    schema: Annotated[
        bool, typer.Option("--schema", callback=_schema, is_eager=True, help="Print the JSON Schema of --format json.")
    ] = False,
) -> None:
    """Measure several upsamplers in interleaved rounds and print the ratios of their latency."""
    from upbench import spec

    given = options.overrides(
        shape, scale, batch, dtype, device, mode, threads, budget, seed, offsets, compile_mode, memory_format
    )
    asked_gates = gates.Asked(
        maximum or [],
        minimum or [],
        budgets,
        tolerance or [],
        save,
        baseline,
        against,
        against_python,
        like,
        threshold,
        exact,
        strict,
        junit,
    )
    if host is not None or host_input is not None or by_stage:
        if asked_gates.mentioned:
            raise SpecError(["gates are on upsamplers, not on hosts; leave out --host, or the gate options"])
        from upbench.cli import host_compare

        assigned = options.assignments(params)
        asked = host_compare.Asked(host, host_input, items, given, assigned, backend, reference, by_stage)
        host_compare.command(asked, convention, form, output_file)
        return
    drafts = [options.draft(item, given, {}) for item in items]
    each = options.shared_params(options.assignments(params), [str(data.get("upsampler")) for data, _ in drafts])
    wanted = backends.parse(backend)
    specs: list[spec.RunSpec] = []
    typed: list[str] = []
    chosen_params: list[dict[str, Any]] = []
    mistakes: list[str] = []
    for item, (data, source), own in zip(items, drafts, each, strict=True):
        data["params"] = {**(data.get("params") or {}), **own}
        for one in backends.spread(data, wanted):
            try:
                specs.append(spec.load(one, source))
                typed.append(item)
                chosen_params.append(dict(one["params"]))
            except SpecError as error:
                mistakes += error.mistakes
    if mistakes:
        raise SpecError(list(dict.fromkeys(mistakes)))
    judged = gates.read(asked_gates, typed, specs)
    place = _place(reference, typed, [s.label for s in specs])
    output.check(output_file)
    if asked_gates.between:
        from upbench.cli import against_compare

        against_compare.command(judged, specs, chosen_params, form, output_file)
        return

    from upbench import check, run
    from upbench.cli.progress import Progress
    from upbench.report import document, table

    run.validate(specs)
    with Progress() as progress:
        checked = check.check(specs, judged.like, progress)
        timed = not exact and checked.passed and gates.is_as_saved(judged, specs, checked)
        records = run.compare(specs, progress, timed=timed) if checked.passed else []
    records = [checked.without_digest(record) for record in records]
    found = gates.of_checks(checked.checks, all_of_them=asked_gates.any)
    if records:
        found += gates.judge(judged, records, records[place], convention)
    tables = [table.comparison(records, records[place], convention)] if records else []
    if form is options.Format.json:
        chosen = records[place] if records else None
        output.emit(document.comparison(records, chosen, checked.checks, found, strict), output_file)
    elif records:
        output.emit(output.render(tables[0], form), output_file)
    gates.tell(found, asked_gates, tables)


def _place(reference: str | None, items: list[str], labels: list[str]) -> int:
    """Position of the reference among the upsamplers, by what was typed or by its label."""
    if reference is None:
        return 0
    for names in (items, labels):
        if reference in names:
            return names.index(reference)
    raise unknown("reference", reference, items)
