"""The application: its commands, and the one place where errors become a sentence and an exit code."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from upbench import __version__
from upbench.cli.option_groups import Debug, ask_for_tracebacks, command
from upbench.errors import DEBUG, RenamedWarning, SpecError, UpbenchError, whole_traceback


@contextmanager
def _renamings_said() -> Iterator[None]:
    """Print every RenamedWarning once, as a sentence on stderr; other warnings go their usual way."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", RenamedWarning)
        usual, said = warnings.showwarning, set()

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if not issubclass(category, RenamedWarning):
                usual(message, category, *where, **more)
            elif str(message) not in said:
                said.add(str(message))
                typer.echo(f"upbench: {message}", err=True)

        warnings.showwarning = show
        yield


class Commands(TyperGroup):
    """Catches UpbenchError once: each sentence on stderr, exit code 2, and the traceback only with --debug."""

    def invoke(self, ctx: Any) -> Any:
        before = os.environ.get(DEBUG)
        try:
            with _renamings_said():
                return super().invoke(ctx)
        except UpbenchError as error:
            if os.environ.get(DEBUG):
                typer.echo(whole_traceback(error), err=True)
            for sentence in error.mistakes if isinstance(error, SpecError) else [str(error)]:
                typer.echo(f"upbench: {sentence}", err=True)
            raise typer.Exit(2) from None
        finally:
            if before is None:
                os.environ.pop(DEBUG, None)


app = typer.Typer(
    cls=Commands,
    help="Benchmark and ablate feature upsamplers.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version.", is_eager=True), debug: Debug = False
) -> None:
    ask_for_tracebacks(debug)
    if version:
        typer.echo(f"upbench {__version__}")
        raise typer.Exit


for _name in ("list", "show", "profile", "compare", "diff", "sweep", "table", "effects", "plot", "reproduce", "env"):
    _module = importlib.import_module(f"upbench.cli.{_name}_command")
    app.command(_name)(command(_module.command))
