"""The application: its commands, and the one place where errors become a sentence and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from upbench import __version__, interrupts
from upbench.cli import help_page, misplaced, output
from upbench.cli.interrupts import TIMING
from upbench.cli.option_groups import Debug, command, print_tracebacks
from upbench.errors import DEBUG, RenamedWarning, SpecError, UpbenchError, whole_traceback

NOTHING_KEPT = "nothing was saved"
KEPT = {
    "compare": "nothing was measured yet, and nothing was saved",
    "profile": "nothing was measured yet, and nothing was saved",
    "deploy": "a file of --record keeps the cells that ended, and nothing else was saved",
}
"""Of each command what Ctrl-C leaves, where it left no result."""
NO_ROUND = "no round of all calls was complete, and nothing was saved"
"""What it leaves in the first round."""
ENDED = "the command had ended"


@contextmanager
def _renamings_said() -> Iterator[None]:
    """Print every RenamedWarning once, as a sentence on stderr; other warnings go their usual way."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", RenamedWarning)
        usual, printed = warnings.showwarning, set()

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if not issubclass(category, RenamedWarning):
                usual(message, category, *where, **more)
            elif str(message) not in printed:
                printed.add(str(message))
                typer.echo(f"upbench: {message}", err=True)

        warnings.showwarning = show
        yield


class Commands(TyperGroup):
    """A group of commands that turns an UpbenchError into sentences on stderr and exit code 2; --debug prints the traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; say of an option before the command that it stands after it."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except Exception as error:  # the class of an unknown option has no public name in typer
            option = str(getattr(error, "option_name", ""))
            if option and (where := misplaced.before_command(option, self, given)):
                vars(error)["message"] += where
                vars(error)["possibilities"] = None
            raise

    def main(self, *arguments: Any, **named: Any) -> Any:
        """Run the command line; where stdout takes nothing, as on a full disk, say so and exit with 2."""
        try:
            return super().main(*arguments, **named)
        except OSError as error:  # a pipe that was closed is no such error: typer ends quietly
            if not output.is_of_stdout(error):
                raise
            if os.environ.get(DEBUG):
                typer.echo(whole_traceback(error), err=True)
            typer.echo(
                f"upbench: the result cannot be written to stdout ({error.strerror}); give a file with --output, or make room",
                err=True,
            )
            sys.exit(2)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; print every mistake of an UpbenchError, and exit with 2; say what Ctrl-C leaves, and exit with 130."""
        before, left = os.environ.get(DEBUG), ENDED
        try:
            interrupts.raise_after_imports()
            with _renamings_said():
                return super().invoke(ctx)
        except UpbenchError as error:
            if os.environ.get(DEBUG):
                typer.echo(whole_traceback(error), err=True)
            for sentence in error.mistakes if isinstance(error, SpecError) else [str(error)]:
                typer.echo(f"upbench: {sentence}", err=True)
            raise typer.Exit(2) from None
        except typer.Exit as end:
            left = "" if end.exit_code == interrupts.CODE else left
            raise
        except BaseException as error:
            if not interrupts.caused(error):
                raise
            if os.environ.get(DEBUG) and not isinstance(error, KeyboardInterrupt):
                typer.echo(whole_traceback(error), err=True)
            # What goes on where it was interrupted has answered Ctrl-C already.
            kept = NO_ROUND if error.args == (TIMING,) else KEPT.get(str(ctx.invoked_subcommand), NOTHING_KEPT)
            typer.echo(f"upbench: interrupted; {kept}", err=True)
            left = ""
            raise typer.Exit(interrupts.CODE) from None
        finally:
            interrupts.end_at_once(left)
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
    print_tracebacks(debug)
    if version:
        typer.echo(f"upbench {__version__}")
        raise typer.Exit


for _name in (
    "list",
    "show",
    "profile",
    "compare",
    "sites",
    "export",
    "deploy",
    "diff",
    "sweep",
    "quality",
    "table",
    "effects",
    "plot",
    "report",
    "reproduce",
    "env",
):
    _module = importlib.import_module(f"upbench.cli.{_name}_command")
    app.command(_name, cls=help_page.Command)(command(_module.command))
