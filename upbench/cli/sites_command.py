"""`upbench sites MODEL --input HxW`: where a real model upsamples feature maps."""

from __future__ import annotations

from typing import Annotated

import typer

from upbench.cli import model_options, options, output
from upbench.cli.show_options import TableOptions


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=f"The model: {model_options.MODEL_HELP}")],
    show: TableOptions,
    image: Annotated[str | None, model_options.IMAGE] = None,
    model_input: model_options.ModelInput = None,
    model_arg: model_options.ModelArgs = None,
    weights: options.Weights = None,
) -> None:
    """List the upsampling calls of a model, and which of them an upsampler of features can take over."""
    from upbench.models import replacing
    from upbench.report.tables import sites

    output.check_targets(show)
    built = model_options.model(model, model_arg, weights)
    listed = replacing.list_sites(built, *model_options.inputs(built, image, model_input))
    table = sites.listing(listed, f"Upsampling calls of {model}" + (f" at {image}" if image else ""))
    output.show([table], show, lambda: output.rows(table))
