"""`upbench export NAME -o FILE`: an upsampler as a file that another runtime runs, written only where it runs right."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from upbench import registry, units
from upbench.cli import drafts
from upbench.cli.model_options import IMAGE, InModel
from upbench.cli.options import Fixed, RequiredOutputs, RunOptions, Weights
from upbench.errors import SpecError

if TYPE_CHECKING:
    from upbench.exchange.exporter import Exported
    from upbench.specs.run_spec import RunSpec

SHAPE = "256x20x24"
"""The size of the input where none is given and sizes are open."""


TAKEN = ("shape", "scale", "output_size", "guide_size", "batch", "dtype", "seed", "offsets")
"""The options of a spec that a file depends on."""


@dataclass(frozen=True)
class FileRunOptions(RunOptions):
    """Options that are keys of a spec, of which those are listed that a file depends on."""

    LISTED: ClassVar = ("params", *TAKEN)


@dataclass(frozen=True)
class FileOptions:
    """Options that say how the file is made."""

    weights: Weights = None
    prefix: Annotated[str, typer.Option(help="Where the upsampler stands in the weights, as neck.up.")] = ""
    fixed: Fixed = False
    opset: Annotated[int | None, typer.Option(metavar="18..22", help="Opset of an ONNX file. Default: 20.")] = None
    sampling: Annotated[
        str | None,
        typer.Option(
            metavar="gathers|gridsample",
            help="How points are read: gathers is fastest in onnxruntime, gridsample in OpenVINO. Default: by the file.",
        ),
    ] = None
    keep_rejected: Annotated[
        bool, typer.Option("--keep-rejected", help="Keep a file whose values are off, as FILE.rejected.")
    ] = False


def command(
    item: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="An upsampler, package.module:Class, or a spec file.")
    ],
    output_files: RequiredOutputs,
    build: FileRunOptions,
    file: FileOptions,
    model: InModel,
    image: Annotated[str | None, IMAGE] = None,
) -> None:
    """Write an upsampler, or a model with it, to a file for other runtimes, after running it at three sizes."""
    from upbench.specs import run_spec as spec

    if len(output_files) > 1:
        raise SpecError(["--output was given more than once, but an export writes one file; call it once for each"])
    (output_file,) = output_files
    if lone := model.lone({"--input": image}) if model.model is None else []:
        raise SpecError(lone)
    if model.model is None and file.prefix and file.weights is None:
        raise SpecError(["--prefix: says where an upsampler stands in weights; give --weights as well"])
    one = spec.load(*(_draft(item, build, file) if model.model is None else _in_model(item, build, file, model, image)))

    from upbench.benchmark import spec_module
    from upbench.cli.progress import Progress
    from upbench.exchange import exporter

    form = exporter.judged(output_file, file.opset, file.sampling)
    with Progress() as progress:
        if one.model is None:
            module, tensors = spec_module.built(one, file.weights, file.prefix)
        else:
            from upbench.models import exported

            module, tensors = exported.built(one, file.fixed)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)  # of torch's own copies
            found = exporter.export(
                module,
                tensors,
                output_file,
                dynamic=not file.fixed,
                opset=file.opset,
                sampling=file.sampling,
                keep_rejected=file.keep_rejected,
                about={"spec": json.dumps(one.to_dict()), "sampling": file.sampling or form.SAMPLING},
                progress=progress,
            )
    _show(found, one.input.dtype)
    typer.echo(f"weights: {_weights(one, file)}")


def _weights(spec: RunSpec, file: FileOptions) -> str:
    """Return which weights are in the file, and how the same module is made in Python."""
    if file.weights is not None:
        return str(file.weights)
    drawn = f"random, seed {spec.input.seed}"
    if spec.model is not None:
        return f"{drawn}; give trained ones with --weights"
    if spec.input.offsets != "init":
        return f"{drawn}, offsets {spec.input.offsets}"
    card = registry.get(spec.upsampler)
    default = card.defaults()
    changed = {key: value for key, value in spec.params.items() if key not in default or default[key] != value}
    usual = (None, card.default_guide_channels(spec.channels))
    guide = {} if spec.guide_channels in usual else {"guide_channels": spec.guide_channels}
    more = {**({} if spec.scale == 2 else {"scale": spec.scale}), **guide, "seed": spec.input.seed, **changed}
    listed = "".join(f", {key}={value!r}" for key, value in more.items())
    return f"{drawn}; the same in Python: upbench.build({spec.upsampler!r}, {spec.channels}{listed})"


def _draft(item: str, build: RunOptions, file: FileOptions) -> tuple[dict[str, Any], str]:
    """Return the spec as written, and its source. Raises SpecError for what a file cannot be."""
    is_file = drafts.is_file(item)
    if file.fixed and build.given().get("shape") is None and not is_file:
        raise SpecError(["--fixed: a file of one size needs that size; give --shape, as --shape 256x60x60"])
    given = build.given()
    if surplus := [key for key in given if key not in TAKEN]:
        listed = ", ".join(f"--{key.replace('_', '-')}" for key in surplus)
        raise SpecError([f"{listed}: says how an upsampler is measured, and changes nothing in a file; leave it out"])
    if given.get("dtype") not in (None, "float32", "float16"):
        raise SpecError([f"dtype is {given['dtype']}, but a file holds float32 or float16; choose one of them"])
    given = given if is_file else {"shape": SHAPE, **given}
    return drafts.draft(item, given, build.assigned())


def _in_model(
    item: str, build: RunOptions, file: FileOptions, model: InModel, image: str | None
) -> tuple[dict[str, Any], str]:
    """Return the spec of a model with an upsampler in it, and its source. Raises SpecError for what does not go with it."""
    given = build.given()
    surplus = [f"--{key.replace('_', '-')}" for key in given if key not in ("batch", "seed")]
    if surplus := [*surplus, *(["--prefix"] if file.prefix else [])]:
        raise SpecError(
            [f"{', '.join(surplus)}: cannot be given with --model, whose maps have their own; leave it out"]
        )
    if drafts.is_file(item):
        raise SpecError([f"{item}: a spec file has a map of its own; with --model write NAME or NAME:KEY=VALUE"])
    data, source = drafts.draft(item, given, build.assigned())
    section = {
        "name": model.model,
        "args": drafts.assignments(model.model_arg, "--model-arg"),
        "weights": None if file.weights is None else str(file.weights),
        "input": image,
        "inputs": model.model_input,
        "where": model.where,
    }
    return {**data, "model": {key: value for key, value in section.items() if value}}, source


def _show(found: Exported, dtype: str) -> None:
    """Print what was written, and how it was judged."""
    nodes = [] if found.nodes is None else [f"{found.nodes} operators"]
    opset = [] if found.opset is None else [f"opset {found.opset}"]
    typer.echo(f"{found.path}: {', '.join([units.mebibytes(found.bytes), *nodes, *opset])}")
    if found.inputs is not None:
        typer.echo("inputs: " + ", ".join("x".join(map(str, size)) for size in found.inputs))
    if found.fixed is not None:
        typer.echo(f"fixed: {found.fixed}")
    if found.names is not None:
        inputs, outputs = (", ".join(names) for names in found.names)
        typer.echo(f"names: inputs {inputs}; outputs {outputs}")
    if found.agreements:
        typer.echo(f"Off from eager float64, as a part of the largest value (eager {dtype}; limit):")
    for one in found.agreements:
        typer.echo(f"{one.size}: {one.error:.1e} (eager {one.eager_error:.1e}; limit {one.limit:.1e})")
