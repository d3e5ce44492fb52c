"""`upbench deploy NAMES --to RUNTIMES`: what each upsampler becomes in the runtimes that ship it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from upbench.cli import drafts, output, upsampler_patterns
from upbench.cli.existing_files import output_path
from upbench.cli.export_command import TAKEN
from upbench.cli.options import OUTPUT, Fixed, RunOptions
from upbench.cli.show_options import TableOptions
from upbench.errors import SpecError

SHAPE = "64x30x30"
"""The size of the input where none is given."""


KEYS = (*(key for key in TAKEN if key not in ("batch", "dtype")), "threads")
"""The options of a spec that a deployment depends on."""


@dataclass(frozen=True)
class DeployRunOptions(RunOptions):
    """Options that are keys of a spec, of which those are listed that a deployment depends on."""

    LISTED: ClassVar = ("params", *KEYS)


@dataclass(frozen=True)
class DeployOptions:
    """Options on the runtimes, and on what a cell may take."""

    to: Annotated[
        str | None,
        typer.Option(
            metavar="RUNTIME,...",
            help="Of onnxruntime, openvino, executorch, coreml, litert, ncnn and aoti. Default: all.",
        ),
    ] = None
    fixed: Fixed = False
    limit: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", show_default=False, help="Time for each upsampler in each runtime. Default: 120."
        ),
    ] = 120.0
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.jsonl",
            parser=output_path,
            rich_help_panel=OUTPUT,
            help="Keep each cell here as it ends; those that are in it are not run again.",
        ),
    ] = None


def command(
    build: DeployRunOptions,
    options: DeployOptions,
    show: TableOptions,
    items: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME|FILE", help="Upsamplers, as of compare. Default: all built-in ones."),
    ] = None,
) -> None:
    """Convert upsamplers to the runtimes that ship them, run them there, and compare values and time."""
    from upbench import cards
    from upbench.deploy import run

    ways = _ways(options.to)
    if not 0 < options.limit < float("inf"):
        raise SpecError([f"--limit {options.limit:g}: must be more than 0 seconds"])
    if build.threads is not None and build.threads < 1:
        raise SpecError([f"--threads {build.threads}: must be an integer of at least 1"])
    names, matched = upsampler_patterns.expand(items or list(cards.builtin()))
    specs = _specs(names, build, matched if items else frozenset(names))
    output.check_targets(show)
    if options.record is not None:
        from upbench import files

        files.check_writable(options.record, "--record")

    from upbench.cli.progress import Progress
    from upbench.report.tables import deploy

    plan = run.Plan(specs, ways, options.fixed, build.threads or 1, options.limit)
    with Progress() as progress:
        cells = run.run(plan, progress, options.record)
    table = deploy.listing(
        cells, f"Upsamplers in runtimes, {_size(specs)}{', files of one size' if options.fixed else ''}"
    )
    output.show([table], show, lambda: output.rows(table))


def _ways(text: str | None) -> list[tuple[str, str]]:
    """Return targets with their variants. Raises SpecError for unknown ones."""
    from upbench.deploy import targets
    from upbench.errors import UpbenchError

    known = targets.names()
    asked = known if text is None else list(dict.fromkeys(part.strip() for part in text.split(",")))
    mistakes = []
    for name in asked:
        try:
            targets.load(name)
        except UpbenchError as error:
            mistakes.append(str(error))
    if mistakes:
        raise SpecError(mistakes)
    return [(name, variant) for name in asked for variant in targets.load(name).VARIANTS]


def _specs(names: list[str], build: RunOptions, matched: frozenset[str]) -> dict[str, dict[str, Any]]:
    """Return the specs, judged, by the names of their rows. One that a pattern stands for and that is impossible is left out."""
    from upbench.specs import run_spec

    given = build.given()
    if surplus := [key for key in given if key not in KEYS]:
        listed = ", ".join(f"--{key.replace('_', '-')}" for key in surplus)
        raise SpecError([f"{listed}: deploy runs one sample in float32, forward; leave it out"])
    given.pop("threads", None)
    assigned = drafts.shared_params(build.assigned(), [name.partition(":")[0] for name in names])
    mistakes: list[str] = []
    found, left_out = {}, {}
    for name, params in zip(names, assigned, strict=True):
        own = given if drafts.is_file(name) else {"shape": SHAPE, **given}
        try:
            found[name] = run_spec.load(*drafts.draft(name, own, params)).to_dict()
        except SpecError as error:
            if name in matched:
                left_out[name] = error.mistakes[0]
            else:
                mistakes += error.mistakes
    if mistakes:
        raise SpecError(mistakes)
    upsampler_patterns.say_left_out(left_out)
    if not found:
        raise SpecError(["none of these upsamplers can be built like that; see the sentence above"])
    return found


def _size(specs: dict[str, dict[str, Any]]) -> str:
    """The sizes of the inputs, as in a title."""
    shapes = dict.fromkeys("x".join(map(str, _shape(spec))) for spec in specs.values())
    return f"x {', '.join(shapes)}"


def _shape(spec: dict[str, Any]) -> Any:
    shape = spec["input"]["shape"]
    return [shape] if isinstance(shape, str) else shape
