"""Where a result goes: stdout, or files that were found writable before anything was measured."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from upbench import files
from upbench.cli import existing_files
from upbench.cli.show_options import ShowOptions
from upbench.errors import OutputError, SpecError

if TYPE_CHECKING:
    from upbench.report.formats.table import Table

Written = Callable[[], str]
"""Makes a text; called only where a result goes to that format."""


def check(path: Path | None, form: str, option: str = "--output", overwrite: bool = False) -> None:
    """Raise OutputError before measuring when the file cannot be written, or would cost another one.

    Args:
        path: of the file that will be written; None for stdout.
        form: the format of what will be written, as `existing_files.check_replaceable` has it.
        option: by which the file was given.
        overwrite: whether it may cost the file that is there.
    """
    if path is not None:
        existing_files.check_replaceable(path, form, option, overwrite)
        files.check_writable(path, option)
    elif form == "parquet":
        _check_no_terminal()


def check_targets(options: ShowOptions) -> None:
    """Raise before measuring when one of the files of a result cannot be written, with a sentence for each of them."""
    mistakes = []
    for path, form in options.targets:
        try:
            check(path, form, overwrite=options.overwrite)
            _check_ending(path, options)
        except OutputError as error:
            mistakes.append(error)
    if len(mistakes) == 1:
        raise mistakes[0]
    if mistakes:
        raise SpecError([str(error) for error in mistakes])


def _check_ending(path: Path | None, options: ShowOptions) -> None:
    """Raise OutputError for a file whose ending names no format, where --format names none either."""
    from upbench.report.formats.render import ENDINGS

    if path is None or options.named_form is not None or path.suffix.lower() in ENDINGS:
        return
    if path.exists() and not path.is_file():  # a device or a pipe
        return
    said = f"ends in {path.suffix}, which names no format" if path.suffix else "has no ending that names a format"
    raise OutputError(f"output {path} {said}; end it in {', '.join(ENDINGS)}, or give --format")


def emit(text: str | bytes, path: Path | None) -> None:
    """Write a text, or the content of a binary file, to stdout, or to a file and say so."""
    if path is not None:
        write(path, text)
    elif isinstance(text, bytes):
        _check_no_terminal()
        typer.echo(text, nl=False)
    else:
        typer.echo(text, nl=not text.endswith("\n"))


def write(path: Path, content: str | bytes) -> None:
    """Write a file, and say on stderr that it was written."""
    if isinstance(content, bytes):
        files.write_bytes(path, content)
    else:
        files.write_text(path, content if content.endswith("\n") else content + "\n")
    if path.is_file():
        typer.echo(f"upbench: wrote {path}", err=True)


def is_of_stdout(error: OSError) -> bool:
    """Return whether an error is that stdout takes nothing: it comes from typer's `echo`, which writes all that is printed.

    What stdout still holds is dropped then: it would fail again when the process ends.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or trace.tb_frame.f_code.co_name != "echo" or trace.tb_frame.f_locals.get("err"):
        return False
    with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    return True


def _check_no_terminal() -> None:
    """Raise OutputError where the content of a binary file would go to a terminal."""
    if sys.stdout.isatty():
        raise OutputError("--format parquet is binary; give a file with --output, as -o table.parquet, or pipe it on")


def emit_page(text: str, options: ShowOptions) -> None:
    """Write a page of prose to stdout or to every file of the options.

    Raises:
        OutputError: If another format is asked for than that of the page.
    """
    if wrong := [form for _, form in options.targets if form not in ("table", "markdown")]:
        raise OutputError(
            f"this page is Markdown, and there is no {wrong[0]} of it; leave --format out, or end the file in .md"
        )
    for path, _ in options.targets:
        emit(text, path)


def show(tables: Sequence[Table], options: ShowOptions, document: Written | None = None, **own: Written) -> None:
    """Print tables to every target of the options, each in its format; in a file they have no terminal styles.

    Args:
        tables: The tables, printed one below another. In CSV and Parquet the rows of all are those of one.
        options: Formats, files, and how much is said under a table.
        document: Makes the content of JSON; None for the tables themselves.
        own: By the name of a format what makes its content, where that is not the tables as they are.
    """
    from upbench.report.formats import latex_seal, render, terminal
    from upbench.report.formats.table import stacked

    makers = own if document is None else {"json": document, **own}
    for path, form in options.targets:
        if not tables and form != "json":
            continue
        if form in makers:
            emit(makers[form](), path)
            continue
        sheets = [stacked(tables)] if form in render.ONE_TABLE and len(tables) > 1 else tables
        presented = [_presented(table, options, form, n) for n, table in enumerate(sheets)]
        text = render.render(presented, form, plain=path is not None)
        if path is not None or isinstance(text, bytes):
            emit(latex_seal.sealed(text) if form == "latex" and isinstance(text, str) else text, path)
        else:
            typer.echo(text, nl=not text.endswith("\n"), color=True if terminal.forced() else None)


def _presented(table: Table, options: ShowOptions, form: str, number: int) -> Table:
    """Return a table with as many notes as the options ask for, and with what LaTeX has around it."""
    from dataclasses import replace

    if form not in ("json", "parquet"):
        table = table.with_notes(options.told)
    if options.latex_label is not None:
        table = replace(table, label=f"{options.latex_label}{f'-{number + 1}' if number else ''}", label_is_whole=True)
    return replace(table, caption=options.caption or table.caption, star=options.star)


def rows(*tables: Table) -> str:
    """Return the raw rows of tables as JSON, each under the table's raw heads."""
    found = [dict(zip(table.raw_heads, row, strict=True)) for table in tables for row in table.raw_rows]
    return json.dumps(found, indent=2)
