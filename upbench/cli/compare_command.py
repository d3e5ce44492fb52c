"""`upbench compare A B C ...`: upsamplers side by side, measured in interleaved rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from upbench import conventions
from upbench.cli import completion, gates, interrupts, options, output
from upbench.cli.accuracy_options import AccuracyOptions, say
from upbench.cli.compare_host import HostOptions
from upbench.cli.compare_model import ModelOptions
from upbench.cli.gate_options import GateOptions
from upbench.cli.options import RunOptions
from upbench.cli.show_options import ShowOptions, TableOptions
from upbench.cli.view_options import ViewOptions
from upbench.errors import SpecError


def command(
    items: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME|FILE...",
            autocompletion=completion.patterns,
            help="Upsamplers, as ldaaqu or ldaaqu:theta=5,groups=4; patterns, as 'dysample*' or all; or spec files.",
        ),
    ],
    run: RunOptions,
    host: HostOptions,
    model: ModelOptions,
    gate: GateOptions,
    show: TableOptions,
    view: ViewOptions,
    accuracy: AccuracyOptions,
    reference: Annotated[str | None, options.REFERENCE] = None,
    per_shape: Annotated[
        bool,
        typer.Option(
            "--per-shape",
            rich_help_panel=options.WHAT,
            help="Allow several shapes, batches or scales: a table of each, without ratios between them. Upsamplers "
            "without a shape of their own are measured at each.",
        ),
    ] = False,
    convention: options.Convention = conventions.DEFAULT,
    no_cache: options.NoCache = False,
    schema: options.Schema = False,
) -> None:
    """Measure several upsamplers in interleaved rounds and print the ratios of their latency."""
    if model.mentioned:
        refused = {
            **{"--host": host.host, "--stages": host.by_stage, "--per-shape": per_shape},
            **replace(gate, exact=False).given,
            **{"--accuracy": accuracy.accuracy, "--with-published": accuracy.with_published, "--no-cache": no_cache},
            **{"--columns": view.columns, "--heads": view.heads, "--sort": view.sort, "--fit": view.fit},
            "--convention": convention != conventions.DEFAULT,
        }
        _in_model(
            items,
            run,
            model,
            host.input,
            show,
            reference,
            [name for name, value in refused.items() if value],
            gate.exact,
        )
    elif host.mentioned:
        _in_host(items, run, host, gate, show, view, accuracy, reference, per_shape, convention, not no_cache)
    else:
        _upsamplers(items, run, gate, show, view, accuracy, reference, per_shape, convention, not no_cache)


def _in_model(
    items: Sequence[str],
    run: RunOptions,
    model: ModelOptions,
    image: str | None,
    show: TableOptions,
    reference: str | None,
    refused: Sequence[str],
    exact: bool,
) -> None:
    """Compare the cost of upsamplers in a whole model."""
    if refused:
        raise SpecError(
            [
                f"{', '.join(refused)}: cannot be given with --model; leave {'it' if len(refused) == 1 else 'them'} out, or --model"
            ]
        )
    from upbench.cli import compare_model

    compare_model.compare(items, run, model, image, show, reference, timed=not exact)


def _in_host(
    items: Sequence[str],
    run: RunOptions,
    host: HostOptions,
    gate: GateOptions,
    show: ShowOptions,
    view: ViewOptions,
    accuracy: AccuracyOptions,
    reference: str | None,
    per_shape: bool,
    convention: str,
    cache: bool,
) -> None:
    """Compare the cost of upsamplers in a host model, over all its stages."""
    if per_shape:
        raise SpecError(["--per-shape: the stages of a host have their own shapes; leave it out"])
    if replace(gate, exact=False).mentioned:
        raise SpecError(["gates are on upsamplers, not on hosts; leave out --host, or the gate options"])
    view.refuse("--host")
    view.check_columns(accuracy.read())
    from upbench.cli import compare_host

    compare_host.compare(items, run, host, show, accuracy, view, reference, convention, cache, timed=not gate.exact)


def _upsamplers(
    items: Sequence[str],
    run: RunOptions,
    gate: GateOptions,
    show: ShowOptions,
    view: ViewOptions,
    accuracy: AccuracyOptions,
    reference: str | None,
    per_shape: bool,
    convention: str,
    cache: bool,
) -> None:
    """Compare upsamplers with each other; with --against, each with an older version of itself."""
    from upbench.cli import compare_groups, compare_specs
    from upbench.papers import given_join as places

    if per_shape and (lone := [name for name, given in gate.of_one_work.items() if given]):
        raise SpecError([f"--per-shape: {', '.join(lone)} is of one shape; give it to a comparison of one"])
    others = gates.compared_with(gate)
    given = run.given(but=["backend", "runtime"])
    sources = accuracy.read()
    choose = partial(
        compare_specs.choose,
        given=given,
        params=run.assigned(),
        backend=run.backend,
        runtime=run.runtime,
        others=others,
        per_shape=per_shape,
    )
    rows, impossible = compare_specs.with_published(choose(items), sources.host, choose)
    say(impossible)
    specs = [row.spec for row in rows]
    judged = gates.read(gate, [row.typed for row in rows], specs)
    groups = compare_groups.split(rows, reference, judged)
    if sources and gate.between:
        raise SpecError(["--accuracy and --with-published are no part of a comparison of two versions; leave them out"])
    sources.check([places.place(spec.label, {}, spec.to_dict()) for spec in specs])
    view.check_columns(sources)
    selected = view.read(convention, rows)
    output.check_targets(show)
    if gate.between:
        from upbench.cli import compare_versions

        view.refuse("--against, whose rows are gates")
        with interrupts.ending_with("two versions are judged by all of their rounds, and nothing was saved"):
            compare_versions.compare(judged, specs, [row.params for row in rows], show, cache)
        return

    from upbench.cli.progress import Progress
    from upbench.session import opening

    with opening.opened(specs) as session:
        session.validate(specs)
        with Progress() as progress:
            results = [
                compare_groups.measure(group, judged, gate.exact, convention, session, progress, cache)
                for group in groups
            ]
    results = compare_groups.with_accuracy(results, sources)
    compare_groups.show(results, judged, convention, show, per_shape, view, selected)
