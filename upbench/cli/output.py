"""Where a result goes: stdout, or a file that was found writable before anything was measured."""

from __future__ import annotations

from pathlib import Path

import typer

from upbench import files
from upbench.cli.options import Format
from upbench.report.formats.table import Table


def check(path: Path | None) -> None:
    """Raise OutputError now rather than after minutes of measuring."""
    if path is not None:
        files.check_writable(path)


def emit(text: str, path: Path | None) -> None:
    if path is None:
        typer.echo(text, nl=not text.endswith("\n"))
    else:
        files.write_text(path, text if text.endswith("\n") else text + "\n")


def render(table: Table, form: Format) -> str:
    """A table as text in any format but JSON, which is not made from tables."""
    from upbench.report.formats import render

    makers = {Format.table: render.terminal, Format.markdown: render.markdown, Format.csv: render.csv}
    return makers[form](table)
