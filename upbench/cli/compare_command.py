"""`upbench compare A B C ...`: upsamplers side by side, measured in interleaved rounds."""

from __future__ import annotations

from typing import Annotated

import typer

from upbench import conventions
from upbench.cli import compare_groups, compare_specs, gate_options, gates, options, output
from upbench.errors import SpecError


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
    per_shape: Annotated[
        bool,
        typer.Option(
            "--per-shape",
            help="Allow several shapes, batches or scales: a table of each, without ratios between them. Upsamplers "
            "without a shape of their own are measured at each.",
        ),
    ] = False,
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
        if per_shape:
            raise SpecError(["--per-shape: the stages of a host have their own shapes; leave it out"])
        if asked_gates.mentioned:
            raise SpecError(["gates are on upsamplers, not on hosts; leave out --host, or the gate options"])
        from upbench.cli import compare_host

        assigned = options.assignments(params)
        asked = compare_host.Asked(host, host_input, items, given, assigned, backend, reference, by_stage)
        compare_host.command(asked, convention, form, output_file)
        return
    if per_shape and (lone := [name for name, given in asked_gates.of_one_work.items() if given]):
        raise SpecError([f"--per-shape: {', '.join(lone)} is of one shape; give it to a comparison of one"])
    others = gates.compared_with(asked_gates)
    rows = compare_specs.choose(items, given, options.assignments(params), backend, others, per_shape)
    specs = [row.spec for row in rows]
    judged = gates.read(asked_gates, [row.typed for row in rows], specs)
    groups = compare_groups.split(rows, reference, judged)
    output.check(output_file)
    if asked_gates.between:
        from upbench.cli import compare_versions

        compare_versions.command(judged, specs, [row.params for row in rows], form, output_file)
        return

    from upbench import run
    from upbench.cli.progress import Progress

    run.validate(specs)
    with Progress() as progress:
        results = [compare_groups.measure(group, judged, exact, convention, progress) for group in groups]
    compare_groups.show(results, judged, convention, form, output_file, per_shape)
