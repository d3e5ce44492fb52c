"""The formats that tables are printed in, by name; each is in a file of its own in this folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from upbench.errors import unknown
from upbench.report.formats import html, latex
from upbench.report.formats import terminal as _terminal
from upbench.report.formats.csv import csv
from upbench.report.formats.json import json
from upbench.report.formats.markdown import markdown
from upbench.report.formats.parquet import parquet
from upbench.report.formats.table import Table

__all__ = ["ENDINGS", "FORMATS", "ONE_TABLE", "Format", "csv", "json", "markdown", "parquet", "render", "terminal"]


def terminal(table: Table, width: int | None = None, plain: bool = False) -> str:
    """Return a table drawn for a terminal, see `formats.terminal`.

    Args:
        table: The table.
        width: Columns of the terminal; None asks it, and takes what the table needs where there is none.
        plain: Whether nothing is marked.
    """
    return _terminal.draw(table, width, plain)


Format = Callable[[Sequence[Table], bool], str | bytes]
"""A function that makes the text of tables, one below another, or the content of a binary file.

Its second argument says whether to leave out the styles of a terminal, as for a file.
"""


def _each(maker: Callable[[Table], str]) -> Format:
    return lambda tables, plain: "\n".join(maker(table) for table in tables)


def _one(maker: Callable[[Table], str | bytes]) -> Format:
    def made(tables: Sequence[Table], plain: bool) -> str | bytes:
        (table,) = tables
        return maker(table)

    return made


FORMATS: dict[str, Format] = {
    "table": lambda tables, plain: "\n".join(terminal(table, None, plain) for table in tables),
    "markdown": _each(markdown),
    "csv": _one(csv),
    "latex": _each(latex.environment),
    "html": lambda tables, plain: html.page(tables),
    "json": lambda tables, plain: json(tables),
    "parquet": _one(parquet),
}
"""Every format by the name that --format takes."""
ENDINGS = {
    ".txt": "table",
    ".md": "markdown",
    ".markdown": "markdown",
    ".csv": "csv",
    ".tex": "latex",
    ".html": "html",
    ".htm": "html",
    ".json": "json",
    ".parquet": "parquet",
}
"""The format of a file by the ending of its name."""
ONE_TABLE = ("csv", "parquet")
"""The formats that hold one table."""


def render(tables: Sequence[Table], form: str, plain: bool = False) -> str | bytes:
    """Return tables one below another in one of FORMATS: a text, or the content of a Parquet file.

    Args:
        tables: The tables.
        form: The name of the format.
        plain: Leave out the styles of a terminal, as for a file.

    Raises:
        UnknownName: There is no such format.
        ValueError: Several tables are to be of a format that holds one.
    """
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    return FORMATS[form](tables, plain)
