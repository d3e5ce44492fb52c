"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from upbench import conventions
from upbench.cli import completion, drafts
from upbench.cli.existing_files import output_path
from upbench.specs import shapes

WHAT = "What"
HOW = "How"
OUTPUT = "Output"
"""The panels of --help that options stand in; those of gates are in `gate_options`."""


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
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        autocompletion=completion.assignments,
        rich_help_panel=WHAT,
        help="A parameter of the upsampler, as theta=5. May be repeated.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        metavar="auto|cpu|cuda[:N]",
        autocompletion=completion.one_of("auto", "cpu", "cuda"),
        rich_help_panel=HOW,
        help="Default: auto, a GPU where there is one.",
    ),
]
Batch = Annotated[
    int | None, typer.Option(rich_help_panel=WHAT, help="Default: 1; of quality 8, the pictures of a step.")
]
Fresh = Annotated[
    bool,
    typer.Option(rich_help_panel=HOW, help="Measure everything again; the old results file is kept beside."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", rich_help_panel=HOW, help="Show what would run and the time it takes; run nothing.")
]
Threads = Annotated[
    int | None,
    typer.Option(
        rich_help_panel=HOW, help="Threads of torch on the CPU. Default: as many as torch takes; of deploy 1."
    ),
]
_CONVENTION = typer.Option(
    callback=_convention,
    metavar="F0..F4|P0..P2|all",
    autocompletion=completion.conventions,
    rich_help_panel=WHAT,
    help="What the FLOPs and Params columns add up, as F0 or F3,P0. Default: everything.",
)
Convention = Annotated[str, _CONVENTION]
MaybeConvention = Annotated[str | None, _CONVENTION]
_OUTPUT = typer.Option(
    "--output",
    "-o",
    metavar="FILE",
    parser=output_path,
    rich_help_panel=OUTPUT,
    help="Write to a file instead of stdout, in the format of its ending (.md, .csv, .tex, .html, .json, .parquet, .txt). May be "
    "repeated. Of sweep: a .jsonl holds the results, by default results/<name>.jsonl; of plot: .png, .svg or .pdf; "
    "of report: .html; of export: .onnx, .pt2 or .aoti.pt2; of show: the spec as text.",
)
Outputs = Annotated[list[Path] | None, _OUTPUT]
RequiredOutputs = Annotated[list[Path], _OUTPUT]
Weights = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        rich_help_panel=WHAT,
        help="Weights of the upsampler or model, as .pth or .safetensors; an upsampler's in any released layout.",
    ),
]
Fixed = Annotated[
    bool,
    typer.Option("--fixed", rich_help_panel=WHAT, help="Take the size of --shape alone. Default: sizes are open."),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        rich_help_panel=OUTPUT,
        help="Let --output replace a file that upbench did not write, or others edited.",
    ),
]
Host = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE",
        autocompletion=completion.hosts,
        rich_help_panel=WHAT,
        help="A host model (`upbench list --hosts`, or YAML): compare sums its stages, reproduce --row counts in them "
        "instead of the table's, plot draws its part of the published table. Of quality: the tiny network, fpn.",
    ),
]
Base = Annotated[
    str | None,
    typer.Option(
        metavar="AXIS=VALUE,...|LABEL",
        rich_help_panel=WHAT,
        help="What differences (as +41.0K) and effects are taken to. Axes that are not named: as in each row, or see the "
        "notes. A label: in a table only.",
    ),
]
Title = Annotated[
    str | None,
    typer.Option(rich_help_panel=WHAT, help="Of the picture or page. Default: the title of the sweep."),
]
Notes = Annotated[
    bool, typer.Option("--notes", rich_help_panel=WHAT, help="Print where papers and released code differ.")
]
NoCache = Annotated[
    bool,
    typer.Option(
        "--no-cache",
        rich_help_panel=HOW,
        help="Check outputs anew, and keep no result of it. Also of --host and --against; profile and sweep check nothing.",
    ),
]
Schema = Annotated[
    bool,
    typer.Option(
        "--schema",
        callback=_schema,
        is_eager=True,
        rich_help_panel=OUTPUT,
        help="Print the JSON Schema of --format json.",
    ),
]


def _run(panel: str, *names: str, **more: Any) -> Any:
    """Return the declaration of an option that is a key of a spec."""
    return typer.Option(*names, rich_help_panel=panel, **more)


@dataclass(frozen=True)
class RunOptions:
    """Options that are keys of a spec; None where an option was not given."""

    shape: Annotated[
        str | None,
        _run(
            WHAT,
            metavar="CxHxW",
            autocompletion=completion.shapes,
            help="Low-resolution feature, as 256x120x120, or a name from `upbench list --shapes`.",
        ),
    ] = None
    params: Set = None
    scale: Annotated[float | None, _run(WHAT, help="Ratio of output to input size. Default: 2.")] = None
    output_size: Annotated[
        str | None,
        _run(WHAT, metavar="HxW", help="Size of the output. Default: of the named shape, or scale times x."),
    ] = None
    guide_size: Annotated[
        str | None,
        _run(
            WHAT,
            metavar="HxW",
            help="Size of the image, where one guides. Default: of the named shape, or the output's.",
        ),
    ] = None
    batch: Batch = None
    dtype: Annotated[
        str | None,
        _run(
            WHAT,
            autocompletion=completion.dtypes,
            help="float32, float16, bfloat16, float64, autocast-float16 or autocast-bfloat16; of export one of the first two.",
        ),
    ] = None
    device: Device = None
    mode: Annotated[
        str | None,
        _run(
            WHAT,
            autocompletion=completion.modes,
            help="inference (forward), training (forward and backward), training-forward or training-backward.",
        ),
    ] = None
    threads: Threads = None
    budget: Annotated[
        float | None, _run(HOW, metavar="SECONDS", help="Sampling time for each upsampler. Default: 2.")
    ] = None
    allocator: Annotated[
        str | None,
        _run(
            HOW,
            metavar="kept|returned",
            autocompletion=completion.one_of("kept", "returned"),
            help="What malloc does with large blocks that are freed. Default: kept.",
        ),
    ] = None
    seed: Annotated[int | None, _run(HOW, help="Of weights and inputs. Default: 0.")] = None
    offsets: Annotated[
        str | None,
        _run(
            WHAT,
            autocompletion=completion.one_of("init", "trained", "max"),
            help="init, trained or max: how far sampling methods reach. Default: init, as their weights are initialised.",
        ),
    ] = None
    compile: Annotated[
        str | None,
        _run(
            HOW,
            "--compile",
            autocompletion=completion.one_of("off", "default", "max-autotune"),
            help="off, default or max-autotune of torch.compile.",
        ),
    ] = None
    memory_format: Annotated[
        str | None,
        _run(
            WHAT,
            autocompletion=completion.one_of("contiguous", "channels_last"),
            help="contiguous or channels_last.",
        ),
    ] = None
    backend: Annotated[
        str | None,
        _run(
            HOW,
            metavar="auto|eager|fused",
            autocompletion=completion.one_of("auto", "eager", "fused"),
            help="eager: as released; fused: without holding what it reads; auto: fused where it can run and is not slower. "
            "compare takes several, as eager,fused.",
        ),
    ] = None
    runtime: Annotated[
        str | None,
        typer.Option(
            metavar="torch|compile|onnxruntime|openvino|...",
            help="What runs the module; compare takes several, as torch,onnxruntime.",
        ),
    ] = None

    def __post_init__(self) -> None:
        """Ask where the channels of a shape seem to stand at its end; it is measured as it is."""
        if self.shape is not None and (question := shapes.doubt(self.shape)):
            typer.echo(f"upbench: {question}", err=True)

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


REFERENCE = typer.Option(
    metavar="NAME|AXIS=VALUE",
    autocompletion=completion.upsamplers,
    rich_help_panel=WHAT,
    help="What ratios are taken to: of compare an upsampler (default: the first), of sweep a cell (default: its base).",
)
"""The option --reference, as compare and sweep have it."""
