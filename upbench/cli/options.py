"""Options that several commands share, and the way from them to specs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from upbench import conventions
from upbench.cli.existing_files import output_path
from upbench.errors import SpecError, UpbenchError, suggestion, unknown
from upbench.report.formats.render import FORMATS

SOURCE = "command line"


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

    def given(self, but: Sequence[str] = ()) -> dict[str, Any]:
        """Return the options that were given, by the key of a spec, without --set.

        Args:
            but: Keys that are left out.
        """
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: v for name, v in named.items() if v is not None and name not in ("params", *but)}

    def assigned(self) -> dict[str, Any]:
        """Return the values of --set. Raises SpecError."""
        return assignments(self.params)


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


def assignments(texts: Sequence[str] | None, option: str = "--set") -> dict[str, Any]:
    """Read KEY=VALUE texts, whose values are YAML.

    Args:
        texts: The texts.
        option: Where they were given, for messages.

    Raises:
        SpecError: With a sentence for each text that is not KEY=VALUE.
    """
    found, mistakes = {}, []
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not text.strip() and len(texts or ()) > 1:
            mistakes.append(
                f"{option}: a parameter is empty, as between two commas or after the last; leave one comma out"
            )
            continue
        if not equals or not key.strip() or not value.strip():
            example = f"{key.strip() or 'theta'}=VALUE"
            join = ":" if option != "--set" else " "
            mistakes.append(f"{option}{join}{text}: `{text}` is not KEY=VALUE; write {option}{join}{example}")
            continue
        try:
            found[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            mistakes.append(f"{option} {text}: {value!r} is not a YAML value")
    if mistakes:
        raise SpecError(mistakes)
    return found


def is_file(item: str) -> bool:
    """Return whether an upsampler argument is the name of a spec file."""
    return item.endswith((".yaml", ".yml")) or Path(item).is_file()


def draft(item: str, given: Mapping[str, Any], params: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Make the spec of one upsampler argument, not yet validated.

    Args:
        item: NAME, NAME:KEY=VALUE,... or FILE.
        given: Options that are keys of a spec, which override the file.
        params: Values of --set.

    Returns:
        The spec as written, and its source for messages.

    Raises:
        SpecError: If the file is no spec, or a part of it is no mapping.
    """
    from upbench import registry
    from upbench.specs import yaml_file
    from upbench.sweeping import axes
    from upbench.sweeping.expand import FORMS

    source: str = SOURCE
    if is_file(item):
        data, source = yaml_file.read(Path(item))
        if any(form in data for form in FORMS):
            raise SpecError([f"{item}: is a sweep; run it with `upbench sweep {item}`"])
        if "stages" in data and "upsampler" not in data:
            raise SpecError([f"{item}: is a host; name upsamplers, as `upbench compare carafe fade --host {item}`"])
        yaml_file.typed(source, (".".join(filter(None, axes.place(key))) for key in given))
        yaml_file.typed(source, (f"params.{key}" for key in params))
    elif item not in registry.names() and Path(item).is_dir():
        raise SpecError([f"{item}: is a folder; name an upsampler, or a spec file in it"])
    else:
        name, own = _inline(item)
        data = {"upsampler": name, "params": own}
    for key in ("input", "measure", "params"):
        if key in data and data[key] is None:
            data[key] = {}
        if key in data and not isinstance(data[key], dict):
            raise SpecError(
                [yaml_file.told(source, f"{key} is {data[key]!r}, but must be a mapping of keys to values")]
            )
    for key, value in given.items():
        axes.set_value(data, key, value)
    if params:
        data["params"] = {**(data.get("params") or {}), **params}
    return data, source


def _inline(item: str) -> tuple[str, dict[str, Any]]:
    """Split "ldaaqu:theta=5,groups=4" or "package.module:Class:kernel=5" into name and params."""
    from upbench import registry

    first, *rest = item.split(":")
    of_name = rest and (first in registry.names() or "=" in rest[0])
    name, tail = (first, rest) if of_name else (":".join([first, *rest[:1]]), rest[1:])
    if not tail:
        return name, {}
    return name, assignments(_pieces(":".join(tail)), name)


def _pieces(text: str) -> list[str]:
    """Split a list at its commas, except inside brackets: "a=[1,2],b=3" becomes "a=[1,2]" and "b=3"."""
    pieces, depth = [""], 0
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth <= 0:
            pieces.append("")
        else:
            pieces[-1] += letter
    return pieces


def shared_params(params: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """Distribute --set values over upsamplers: `theta=5` to all that have theta, `ldaaqu.theta=5` to that one.

    Args:
        params: The values of --set.
        names: Names of the upsamplers.

    Returns:
        The params of each upsampler.

    Raises:
        SpecError: If none of them has a parameter.
    """
    from upbench import registry
    from upbench.errors import UpbenchError

    known: list[list[str]] = []
    for name in names:
        try:
            known.append([p.name for p in registry.get(name).params])
        except UpbenchError:  # reported where the spec is judged
            known.append([])
    taken: list[dict[str, Any]] = [{} for _ in names]
    mistakes = []
    for key, value in params.items():
        target, _, param = key.rpartition(".")
        hits = [n for n, name in enumerate(names) if (name == target if target else param in known[n])]
        if not hits:
            everything = sorted({p for ps in known for p in ps})
            mistakes.append(
                f"--set {key}: none of {', '.join(names)} has it; known: {', '.join(everything)}{suggestion(param, everything)}"
            )
        for n in hits:
            taken[n][param] = value
    if mistakes:
        raise SpecError(mistakes)
    return taken


REFERENCE = typer.Option(
    metavar="NAME|AXIS=VALUE",
    help="What ratios are taken to: of compare an upsampler (default: the first), of sweep a cell (default: its base).",
)
"""The option --reference, as compare and sweep have it."""
