"""Where a result goes: stdout, or a file that was found writable before anything was measured."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import typer

from upbench import files
from upbench.cli import existing_files
from upbench.cli.options import ShowOptions
from upbench.errors import OutputError
from upbench.report.formats.table import Table


def check(path: Path | None, form: str, option: str = "--output") -> None:
    """Raise OutputError before measuring when the file cannot be written, or would cost another one.

    Args:
        path: of the file that will be written; None for stdout.
        form: the format of what will be written, as `existing_files.check_replaceable` has it.
        option: by which the file was given.
    """
    if path is not None:
        existing_files.check_replaceable(path, form, option)
        files.check_writable(path, option)
    elif form == "parquet":
        _check_no_terminal()


def emit(text: str | bytes, path: Path | None) -> None:
    """Write a text, or the content of a binary file, to stdout or to a file."""
    if isinstance(text, bytes):
        if path is not None:
            files.write_bytes(path, text)
        else:
            _check_no_terminal()
            typer.echo(text, nl=False)
    elif path is None:
        typer.echo(text, nl=not text.endswith("\n"))
    else:
        files.write_text(path, text if text.endswith("\n") else text + "\n")


def _check_no_terminal() -> None:
    """Raise OutputError where the content of a binary file would go to a terminal."""
    if sys.stdout.isatty():
        raise OutputError("--format parquet is binary; give a file with --output, as -o table.parquet, or pipe it on")


def show(tables: Sequence[Table], options: ShowOptions, document: Callable[[], str] | None = None) -> None:
    """Print tables in the format of the options; in a file they have no terminal styles.

    Args:
        tables: The tables, printed one below another. CSV and Parquet hold one.
        options: Format and file.
        document: Makes the content of JSON; None for the tables themselves.
    """
    from upbench.report.formats import render, terminal

    if options.form == "json" and document is not None:
        emit(document(), options.output_file)
        return
    text = render.render(tables, options.form, plain=options.output_file is not None)
    if options.output_file is not None or isinstance(text, bytes):
        emit(text, options.output_file)
    else:
        typer.echo(text, nl=not text.endswith("\n"), color=True if terminal.forced() else None)


def rows(*tables: Table) -> str:
    """Return the raw rows of tables as JSON, each under the table's raw heads."""
    found = [dict(zip(table.raw_heads, row, strict=True)) for table in tables for row in table.raw_rows]
    return json.dumps(found, indent=2)
