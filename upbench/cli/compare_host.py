"""`upbench compare ... --host`: what upsamplers cost in a host model, over all its stages."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upbench.cli import (
    accuracy_options,
    backends,
    drafts,
    interrupts,
    model_options,
    options,
    output,
    upsampler_patterns,
)
from upbench.cli.accuracy_options import AccuracyOptions
from upbench.cli.options import RunOptions
from upbench.cli.show_options import ShowOptions
from upbench.cli.view_options import ViewOptions
from upbench.errors import SpecError, UpbenchError, unknown
from upbench.specs import yaml_file

if TYPE_CHECKING:
    from upbench.papers import Host
    from upbench.records.record import Record
    from upbench.session.calls import Session
    from upbench.specs.run_spec import RunSpec

_SIZES = ("channels", "guide_channels", "scale")


@dataclass(frozen=True)
class HostOptions:
    """Which host model, at which size of the image, and whether every stage is shown."""

    host: options.Host = None
    input: Annotated[str | None, model_options.IMAGE] = None
    by_stage: Annotated[
        bool, typer.Option("--stages", rich_help_panel=options.WHAT, help="With --host: every stage as well.")
    ] = False

    @property
    def mentioned(self) -> bool:
        """Whether any option was given."""
        return self.host is not None or self.input is not None or self.by_stage


def compare(
    items: Sequence[str],
    run_options: RunOptions,
    wanted: HostOptions,
    show: ShowOptions,
    accuracy: AccuracyOptions,
    view: ViewOptions,
    reference: str | None,
    convention: str,
    cache: bool = True,
    timed: bool = True,
) -> None:
    """Measure the upsamplers in the host and print what they add to it.

    Args:
        items: The upsamplers as typed.
        run_options: Options that are keys of a spec.
        wanted: The host, the size of its image, and whether every stage is shown.
        show: Format and file of the result.
        accuracy: Accuracy that is shown beside the cost.
        view: Columns and their heads.
        reference: Value of --reference; None for the first.
        convention: Counting convention of MACs and parameters.
        cache: Whether kept results of checks are used.
        timed: False counts only, checks no gradients, and prints the sums with the host that papers print.
    """
    from upbench.cli import compare_specs
    from upbench.papers import given_join

    host = _host(wanted, run_options)
    sources = accuracy.read()
    items = [*items, *(one for one in compare_specs.published(sources.host) if one not in items)]
    necks, typed = _necks(items, run_options, host)
    sources.check([given_join.place(specs[0].label, {}, specs[0].to_dict()) for specs in necks])
    position = _reference_position(reference, typed, [specs[0].label for specs in necks])
    view.check_columns(sources)
    output.check_targets(show)

    from upbench.cli.progress import Progress
    from upbench.report.tables import hosts
    from upbench.session import opening

    every = [spec for specs in necks for spec in specs]
    with opening.opened(every) as session:
        session.validate(every)
        with Progress() as progress:
            checks = _checks(necks, host, session, progress, cache, backward=timed)
            red = [check for check in checks if not check["passed"]]
            found = [] if red else session.compare_in_host(necks, host, wanted.by_stage, progress, timed)
    for check in red:
        where = f"{check['upsampler']} in stage {check['stage']} of {host.name}"
        typer.echo(f"upbench: FAILED check {check['name']}: {where}: {check['detail']}", err=True)
    totals = accuracy_options.attached(sources, [measured.total for measured in found])
    if show.wants("json") or not red:
        stages = [measured.stages for measured in found]
        shown = stages if wanted.by_stage else [()] * len(stages)
        tables = [] if red else [hosts.comparison(totals, shown, host, position, convention, view.columns)]
        tables = [view.headed(table) for table in tables]
        output.show(tables, show, lambda: _document(host, necks[position][0].label, checks, totals, stages, position))
    if red:
        raise typer.Exit(1)
    interrupts.say_and_end([record for measured in found for record in (measured.total, *measured.stages)], show)


def _host(wanted: HostOptions, run_options: RunOptions) -> Host:
    """Return the host at the size of the image in --input. Raises SpecError for options that make no sense with a host."""
    from upbench import papers

    if wanted.host is None:
        lone = [option for option, given in (("--input", wanted.input), ("--stages", wanted.by_stage)) if given]
        raise SpecError(
            [
                f"{option}: needs --host; `upbench list --hosts` shows the hosts. A whole model is measured by --model"
                for option in lone
            ]
        )
    refused = [key for key in ("shape", "scale") if key in run_options.given()]
    if refused:
        raise SpecError(
            [f"--{key}: cannot be given with --host, whose stages have their own; leave it out" for key in refused]
        )
    host = papers.host(wanted.host)
    return host if wanted.input is None else papers.at(host, *model_options.size(wanted.input))


def _document(
    host: Host,
    reference: str,
    checks: Sequence[Mapping[str, Any]],
    totals: Sequence[Record],
    stages: Sequence[Sequence[Record]],
    position: int,
) -> str:
    """Return the JSON of a comparison in a host."""
    from upbench.report import json_documents
    from upbench.report.tables import columns

    result = {
        "schema": json_documents.SCHEMA,
        "host": host.model_dump(mode="json", exclude={"variants"}),
        "reference": reference,
        "checks": checks,
        "latency_ratios": [
            vars(columns.paired(total, totals[position])) if total.latency else None for total in totals
        ],
        "verdicts": [columns.verdict(total, totals[position]) for total in totals],
        "records": [total.to_dict() for total in totals],
        "stages": [[record.to_dict() for record in each] for each in stages],
    }
    return json.dumps(result, indent=2)


def _checks(
    necks: Sequence[Sequence[RunSpec]], host: Host, session: Session, progress: Any, cache: bool, backward: bool
) -> list[dict[str, Any]]:
    """Check every upsampler in every stage: no speed is reported where a check failed; gradients where there is one."""
    found = []
    for n, specs in enumerate(necks):
        for spec, stage in zip(specs, host.stages, strict=True):
            progress(f"{spec.label} in {stage.name}: checking", n / len(necks))
            checked = session.check([spec], cache=cache, for_measuring=False, backward=backward)
            found += [{**vars(one), "stage": stage.name} for one in checked.checks]
    return found


def _necks(items: Sequence[str], run_options: RunOptions, host: Host) -> tuple[list[list[RunSpec]], list[str]]:
    """Return a spec for every stage of every upsampler, and what was typed for each. Raises SpecError with all mistakes."""
    given = run_options.given(but=["backend"])
    items, matched = upsampler_patterns.expand(items)
    written = [drafts.draft(item, given, {}) for item in items]
    each = drafts.shared_params(run_options.assigned(), [str(data.get("upsampler")) for data, _ in written])
    wanted = backends.parse(run_options.backend)
    necks, typed, mistakes, left_out = [], [], list[str](), dict[str, str]()
    for item, (data, source), own in zip(items, written, each, strict=True):
        data["params"] = {**(data.get("params") or {}), **own}
        yaml_file.typed(source, [*(f"params.{name}" for name in own), *(["measure.backend"] if wanted else [])])
        dropped = [key for key in _SIZES if data.pop(key, None) is not None]
        dropped += ["input.shape"] if (data.get("input") or {}).pop("shape", None) is not None else []
        if dropped:
            typer.echo(f"upbench: {source}: {', '.join(dropped)} give way to the stages of {host.name}", err=True)
        for one in backends.spread(data, wanted):
            specs, found = _stages(one, source, host)
            if found and item in matched:
                left_out[item] = found[0]
                continue
            necks.append(specs)
            typed.append(item)
            mistakes += found
    upsampler_patterns.say_left_out(left_out)
    if not necks:
        mistakes.append(f"no upsampler of the pattern fits into {host.name}; name one")
    if mistakes:
        raise SpecError(list(dict.fromkeys(mistakes)))
    return necks, typed


def _stages(data: Mapping[str, Any], source: str, host: Host) -> tuple[list[RunSpec], list[str]]:
    """Return the specs of one upsampler in all stages, and its mistakes, each with the stages that it concerns."""
    from upbench import registry
    from upbench.specs import run_spec as spec

    try:
        guided = registry.get(str(data.get("upsampler"))).guided
    except UpbenchError:  # said where the spec is judged
        guided = False
    specs: list[RunSpec] = []
    where: dict[str, list[str]] = {}
    for stage in host.stages:
        one = copy.deepcopy(dict(data))
        images = (one.get("input") or {}).get("batch", 1)
        shape = f"{stage.channels}x{stage.height}x{stage.width}"
        one["input"] = {**(one.get("input") or {}), "shape": shape, "batch": images}
        if isinstance(images, int) and not isinstance(images, bool):
            one["input"]["batch"] = images * stage.batch
        one |= {"scale": stage.scale, **({"guide_channels": stage.guide_channels} if guided else {})}
        try:
            specs.append(spec.load(one, source))
        except SpecError as error:
            for sentence in error.mistakes:
                where.setdefault(sentence, []).append(stage.name)
    general = _mistakes(data, source)
    return specs, [
        sentence if sentence in general and len(names) == len(host.stages) else _in_stages(data, sentence, names, host)
        for sentence, names in where.items()
    ]


def _mistakes(data: Mapping[str, Any], source: str) -> Sequence[str]:
    """Return what is wrong with a draft in any host."""
    from upbench.specs import run_spec as spec

    try:
        spec.load(data, source)
    except SpecError as error:
        return error.mistakes
    return ()


def _in_stages(data: Mapping[str, Any], sentence: str, names: Sequence[str], host: Host) -> str:
    stages = f"stage {names[0]}" if len(names) == 1 else f"stages {', '.join(names)}"
    return f"{sentence} ({data.get('upsampler')} in {stages} of {host.name})"


def _reference_position(reference: str | None, items: Sequence[str], labels: Sequence[str]) -> int:
    """Return the position of the reference among the upsamplers, by what was typed or by its label."""
    if reference is None:
        return 0
    for names in (list(items), list(labels)):
        if reference in names:
            return names.index(reference)
    raise unknown("reference", reference, items)
