"""`upbench export NAME -o FILE`: an upsampler as a file that another runtime runs, written only where it runs right."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upbench import units
from upbench.cli import drafts
from upbench.cli.options import RequiredOutputs, RunOptions, Weights
from upbench.errors import SpecError

if TYPE_CHECKING:
    from upbench.exchange.exporter import Exported

SHAPE = "256x20x24"
"""The size of the input where none is given and sizes are open."""


TAKEN = ("shape", "scale", "output_size", "guide_size", "batch", "dtype", "seed", "offsets")
"""The options of a spec that a file depends on."""


@dataclass(frozen=True)
class FileOptions:
    """Options that say how the file is made."""

    weights: Weights = None
    prefix: Annotated[str, typer.Option(help="Where the upsampler stands in the weights, as neck.up.")] = ""
    fixed: Annotated[bool, typer.Option("--fixed", help="Take the size of --shape alone.")] = False
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
    build: RunOptions,
    file: FileOptions,
) -> None:
    """Write an upsampler to a file for other runtimes, after running it at three sizes."""
    from upbench.specs import run_spec as spec

    if len(output_files) > 1:
        raise SpecError(["--output was given more than once, but an export writes one file; call it once for each"])
    (output_file,) = output_files
    one = spec.load(*_draft(item, build, file))

    from upbench.benchmark import spec_module
    from upbench.exchange import exporter

    form = exporter.judged(output_file, file.opset, file.sampling)
    module, tensors = spec_module.built(one, file.weights, file.prefix)
    found = exporter.export(
        module,
        tensors,
        output_file,
        dynamic=not file.fixed,
        opset=file.opset,
        sampling=file.sampling,
        keep_rejected=file.keep_rejected,
        about={"spec": json.dumps(one.to_dict()), "sampling": file.sampling or form.SAMPLING},
    )
    _show(found, one.input.dtype)


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


def _show(found: Exported, dtype: str) -> None:
    """Print what was written, and how it was judged."""
    nodes = [] if found.nodes is None else [f"{found.nodes} operators"]
    opset = [] if found.opset is None else [f"opset {found.opset}"]
    typer.echo(f"{found.path}: {', '.join([units.mebibytes(found.bytes), *nodes, *opset])}")
    if found.inputs is not None:
        typer.echo("inputs: " + ", ".join("x".join(map(str, size)) for size in found.inputs))
    for one in found.agreements:
        typer.echo(
            f"{one.size}: {one.error:.1e} of the largest value from eager float64 (eager {dtype}: {one.eager_error:.1e}, "
            f"limit {one.limit:.1e})"
        )
