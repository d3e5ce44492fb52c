"""The application: its commands, and the one place where errors become a sentence and an exit code."""

from __future__ import annotations

import importlib
from typing import Any

import typer
from typer.core import TyperGroup

from upbench import __version__
from upbench.errors import SpecError, UpbenchError


class Commands(TyperGroup):
    """Catches UpbenchError once: each sentence on stderr, exit code 2, no traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UpbenchError as error:
            for sentence in error.mistakes if isinstance(error, SpecError) else [str(error)]:
                typer.echo(f"upbench: {sentence}", err=True)
            raise typer.Exit(2) from None


app = typer.Typer(
    cls=Commands,
    help="Benchmark and ablate feature upsamplers.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version.", is_eager=True)) -> None:
    if version:
        typer.echo(f"upbench {__version__}")
        raise typer.Exit


for _name in ("list", "show", "profile", "compare", "diff", "sweep", "table", "effects", "plot", "reproduce", "env"):
    _module = importlib.import_module(f"upbench.cli.{_name}_command")
    app.command(_name)(_module.command)
