"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from upbench import conventions
from upbench.cli import drafts
from upbench.cli.existing_files import output_path
from upbench.errors import OutputError, UpbenchError, unknown
from upbench.report.formats import parquet
from upbench.report.formats.render import FORMATS


def _format(value: str) -> str:
    """Refuse an unknown format before anything is measured."""
    if value not in FORMATS:
        raise UpbenchError(f"--format {value}: {unknown('format', value, FORMATS)}")
    return value


def _convention(context: typer.Context, value: str | None) -> str | None:
    """Refuse an unknown convention before anything is measured; `reproduce` has sentences of its own for it."""
    if value is not None and context.info_name != "reproduce":
        conventions.parse(value)
    return value


def _schema(context: typer.Context, wanted: bool) -> None:
    """Print the JSON Schema of --format json, and end."""
    if wanted:
        from upbench.report import json_documents

        typer.echo(
            {"compare": json_documents.compare_schema, "diff": json_documents.diff_schema}[str(context.info_name)]()
        )
        raise typer.Exit


# Every option that more than one command has is declared here, once.
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A parameter of the upsampler, as theta=5. May be repeated."),
]
Device = Annotated[
    str | None, typer.Option(metavar="auto|cpu|cuda[:N]", help="Default: auto, a GPU where there is one.")
]
Threads = Annotated[int | None, typer.Option(help="Threads of torch on the CPU.")]
_CONVENTION = typer.Option(
    callback=_convention,
    metavar="F0..F4|P0..P2|all",
    help="What the FLOPs and Params columns add up, as F0 or F3,P0. Default: everything.",
)
Convention = Annotated[str, _CONVENTION]
MaybeConvention = Annotated[str | None, _CONVENTION]
_OUTPUT = typer.Option(
    "--output",
    "-o",
    metavar="FILE",
    parser=output_path,
    help="Write the result to a file instead of stdout. Of sweep: the results, by default results/<name>.jsonl; of plot: "
    "the picture, .png, .svg or .pdf.",
)
Output = Annotated[Path | None, _OUTPUT]
RequiredOutput = Annotated[Path, _OUTPUT]
Host = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE",
        help="A host model (`upbench list --hosts`, or YAML): compare sums its stages, reproduce --row counts in them "
        "instead of the table's, plot draws its part of the published table.",
    ),
]
Base = Annotated[
    str | None,
    typer.Option(
        metavar="AXIS=VALUE,...|LABEL",
        help="What differences (as +41.0K) and effects are taken to. Axes that are not named: as in each row, or see the "
        "notes. A label: in a table only.",
    ),
]
Notes = Annotated[bool, typer.Option("--notes", help="Print where papers and released code differ.")]
Schema = Annotated[
    bool, typer.Option("--schema", callback=_schema, is_eager=True, help="Print the JSON Schema of --format json.")
]


@dataclass(frozen=True)
class RunOptions:
    """Options that are keys of a spec; None where an option was not given."""

    shape: Annotated[
        str | None,
        typer.Option(
            metavar="CxHxW", help="Low-resolution feature, as 256x120x120, or a name from `upbench list --shapes`."
        ),
    ] = None
    params: Set = None
    scale: Annotated[float | None, typer.Option(help="Ratio of output to input size. Default: 2.")] = None
    output_size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="Size of the output. Default: of the named shape, or scale times x."),
    ] = None
    guide_size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW", help="Size of the image, where one guides. Default: of the named shape, or the output's."
        ),
    ] = None
    batch: Annotated[int | None, typer.Option(help="Default: 1.")] = None
    dtype: Annotated[
        str | None, typer.Option(help="float32, float16, bfloat16, float64, autocast-float16 or autocast-bfloat16.")
    ] = None
    device: Device = None
    mode: Annotated[
        str | None,
        typer.Option(
            help="inference (forward), training (forward and backward), training-forward or training-backward."
        ),
    ] = None
    threads: Threads = None
    budget: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Sampling time for each upsampler. Default: 2.")
    ] = None
    allocator: Annotated[
        str | None,
        typer.Option(metavar="kept|returned", help="What malloc does with large blocks that are freed. Default: kept."),
    ] = None
    seed: Annotated[int | None, typer.Option(help="Of weights and inputs. Default: 0.")] = None
    offsets: Annotated[
        str | None,
        typer.Option(help="init, trained or max: how far sampling methods reach. Default: init, where they do not."),
    ] = None
    compile: Annotated[str | None, typer.Option("--compile", help="off, default or max-autotune of torch.compile.")] = (
        None
    )
    memory_format: Annotated[str | None, typer.Option(help="contiguous or channels_last.")] = None
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="auto|eager|fused",
            help="eager: as released; fused: one kernel; auto: fused where it can run. compare takes several, as "
            "eager,fused.",
        ),
    ] = None
    runtime: Annotated[
        str | None,
        typer.Option(
            metavar="torch|compile|onnxruntime|openvino|...",
            help="What runs the module; compare takes several, as torch,onnxruntime.",
        ),
    ] = None

    def given(self, but: Sequence[str] = ()) -> dict[str, Any]:
        """Return the options that were given, by the key of a spec, without --set.

        Args:
            but: Keys that are left out.
        """
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: v for name, v in named.items() if v is not None and name not in ("params", *but)}

    def assigned(self) -> dict[str, Any]:
        """Return the values of --set. Raises SpecError."""
        return drafts.assignments(self.params)


@dataclass(frozen=True)
class ShowOptions:
    """Format of a result, one of `render.FORMATS`, and the file it is written to; None for stdout."""

    form: Annotated[
        str,
        typer.Option(
            "--format",
            callback=_format,
            metavar="|".join(FORMATS),
            autocompletion=lambda: list(FORMATS),
            help="How the result is printed.",
        ),
    ] = "table"
    output_file: Output = None

    def __post_init__(self) -> None:
        """Take Parquet for a file that is named so. Raises OutputError where it cannot be, or another format was given."""
        if self.output_file is not None and self.output_file.suffix == parquet.SUFFIX:
            if self.form not in ("table", "parquet"):
                raise OutputError(
                    f"output {self.output_file} has the name of a Parquet file, but --format is {self.form}; leave "
                    "--format out, or give the file another name"
                )
            object.__setattr__(self, "form", "parquet")
        if self.form == "parquet":
            parquet.check_installed()


REFERENCE = typer.Option(
    metavar="NAME|AXIS=VALUE",
    help="What ratios are taken to: of compare an upsampler (default: the first), of sweep a cell (default: its base).",
)
"""The option --reference, as compare and sweep have it."""
