"""Options that say which model, and what it is called with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upbench.cli import drafts
from upbench.cli.options import WHAT
from upbench.errors import SpecError, UpbenchError

if TYPE_CHECKING:
    from torch import nn

IMAGE = typer.Option(
    "--input",
    metavar="HEIGHTxWIDTH",
    rich_help_panel=WHAT,
    help="Size of the image in pixels: of a model, or another one of a host.",
)
"""The declaration of --input."""
MODEL_HELP = "a name, as torchvision/fasterrcnn_resnet50_fpn, or package.module:callable."
ModelArgs = Annotated[
    list[str] | None,
    typer.Option(
        "--model-arg",
        metavar="KEY=VALUE",
        rich_help_panel=WHAT,
        help="Keyword argument of what builds the model; VALUE in YAML.",
    ),
]
ModelInput = Annotated[
    str | None,
    typer.Option(
        "--model-input",
        metavar="FILE:FUNCTION",
        rich_help_panel=WHAT,
        help="A function that makes the inputs: a tensor, a tuple of positional or a dict of keyword inputs.",
    ),
]


@dataclass(frozen=True)
class InModel:
    """Which model, which of its upsampling calls, its arguments and inputs."""

    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            rich_help_panel=WHAT,
            help=f"A whole model that is really run, with the upsampler in it: {MODEL_HELP}",
        ),
    ] = None
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="SITE",
            rich_help_panel=WHAT,
            help="With --model: which calls, as 'decoder.*'; `upbench sites` lists them.",
        ),
    ] = None
    model_arg: ModelArgs = None
    model_input: ModelInput = None

    def lone(self, more: Mapping[str, Any]) -> list[str]:
        """Return a sentence for each option that is given without --model.

        Args:
            more: Further options of a command that need it, with their values.
        """
        given = {"--where": self.where, "--model-arg": self.model_arg, "--model-input": self.model_input, **more}
        return [f"{option}: needs --model" for option, value in given.items() if value]


def size(text: str, option: str = "--input") -> tuple[int, int]:
    """Return height and width in "512x1024". Raises UpbenchError otherwise."""
    match = re.fullmatch(r"\s*(\d+)\s*[xX]\s*(\d+)\s*", text)
    if match is None or not (int(match[1]) and int(match[2])):
        raise UpbenchError(f"{option} {text}: is not HEIGHTxWIDTH of the image in pixels, as 512x1024")
    return int(match[1]), int(match[2])


def check_section(section: Mapping[str, Any], source: str) -> None:
    """Raise SpecError where the section `model` of a sweep names what is not there; its form was judged before."""
    from upbench.models import catalogue

    mistakes = []
    if section and ":" not in section["name"]:
        try:
            catalogue.entry(section["name"])
        except UpbenchError as error:
            mistakes.append(f"{source}: model.name: {error}")
    files = {"weights": section.get("weights"), "inputs": (section.get("inputs") or "").rpartition(":")[0] or None}
    for key, path in files.items():
        if path is not None and not Path(path).is_file():
            mistakes.append(f"{source}: model.{key}: there is no file {path}")
    if mistakes:
        raise SpecError(mistakes)


def model(name: str, given: Sequence[str] | None, weights: Path | None) -> nn.Module:
    """Build the model of the options, and load its weights. Raises UpbenchError where that fails."""
    from upbench.models import factory

    built = factory.build(name, drafts.assignments(given, "--model-arg"))
    if weights is not None:
        factory.load_weights(built, str(weights))
    return built


def inputs(
    built: nn.Module, image: str | None, file: str | None, batch: int = 1
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the positional and keyword inputs of the model. Raises UpbenchError unless one way to make them is given."""
    from upbench.models import example_inputs

    if (image is None) == (file is None):
        raise UpbenchError(
            "a model needs inputs: give --input HEIGHTxWIDTH for images of that size, or --model-input FILE:FUNCTION"
            + ("; not both" if image else "")
        )
    return example_inputs.from_file(file) if file else example_inputs.for_image(built, *size(str(image)), batch)
