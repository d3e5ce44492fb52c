"""`upbench export NAME -o FILE`: an upsampler as a file that another runtime runs, written only where it runs right."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upbench import units
from upbench.cli import drafts
from upbench.cli.existing_files import output_path
from upbench.cli.options import Set
from upbench.errors import SpecError

if TYPE_CHECKING:
    from upbench.exchange.exporter import Exported

SHAPE = "256x20x24"
"""The size of the input where none is given and sizes are open."""


@dataclass(frozen=True)
class BuildOptions:
    """Options that say what is exported."""

    shape: Annotated[
        str | None,
        typer.Option(
            metavar="CxHxW", help=f"Low-resolution feature; its H and W matter with --fixed alone. Default: {SHAPE}."
        ),
    ] = None
    params: Set = None
    scale: Annotated[float | None, typer.Option(help="Ratio of output to input size. Default: 2.")] = None
    output_size: Annotated[str | None, typer.Option(metavar="HxW", help="Size of the output.")] = None
    guide_size: Annotated[str | None, typer.Option(metavar="HxW", help="Size of the image, where one guides.")] = None
    batch: Annotated[int | None, typer.Option(help="Samples; matters with --fixed alone. Default: 1.")] = None
    dtype: Annotated[str | None, typer.Option(help="float32 or float16. Default: float32.")] = None
    seed: Annotated[int | None, typer.Option(help="Of weights that are not given, and of inputs. Default: 0.")] = None
    offsets: Annotated[
        str | None, typer.Option(help="init, trained or max: how far sampling methods reach. Default: init.")
    ] = None

    def given(self) -> dict[str, Any]:
        """Return the options that were given, by the key of a spec."""
        return {k: v for k, v in vars(self).items() if v is not None and k != "params"}


@dataclass(frozen=True)
class FileOptions:
    """Options that say how the file is made."""

    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Weights, as .pth or .safetensors in any released layout.")
    ] = None
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
    output_file: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            parser=output_path,
            help="The file: .onnx, .pt2 (torch.export) or .aoti.pt2 (AOTInductor).",
        ),
    ],
    build: BuildOptions,
    file: FileOptions,
) -> None:
    """Write an upsampler to a file for other runtimes, after running it at three sizes."""
    from upbench.specs import run_spec as spec

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


def _draft(item: str, build: BuildOptions, file: FileOptions) -> tuple[dict[str, Any], str]:
    """Return the spec as written, and its source. Raises SpecError for what a file cannot be."""
    is_file = drafts.is_file(item)
    if file.fixed and build.shape is None and not is_file:
        raise SpecError(["--fixed: a file of one size needs that size; give --shape, as --shape 256x60x60"])
    if build.dtype not in (None, "float32", "float16"):
        raise SpecError([f"dtype is {build.dtype}, but a file holds float32 or float16; choose one of them"])
    given = build.given() if is_file else {"shape": SHAPE, **build.given()}
    return drafts.draft(item, given, drafts.assignments(build.params))


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
