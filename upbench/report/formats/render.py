"""The formats that tables are printed in, by name; each is in a file of its own in this folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from upbench.errors import unknown
from upbench.report.formats import html, latex
from upbench.report.formats import terminal as _terminal
from upbench.report.formats.csv import csv
from upbench.report.formats.json import json
from upbench.report.formats.markdown import markdown
from upbench.report.formats.table import Table

__all__ = ["FORMATS", "Format", "csv", "json", "markdown", "render", "terminal"]


def terminal(table: Table, width: int | None = None, plain: bool = False) -> str:
    """Return a table drawn for a terminal, see `formats.terminal`."""
    return _terminal.draw(table, width, plain)


Format = Callable[[Sequence[Table], bool], str]
"""A function that makes the text of tables, one below another.

Its second argument says whether to leave out the styles of a terminal, as for a file.
"""


def _each(maker: Callable[[Table], str]) -> Format:
    return lambda tables, plain: "\n".join(maker(table) for table in tables)


def _one_csv(tables: Sequence[Table], plain: bool) -> str:
    if len(tables) != 1:
        raise ValueError(f"CSV holds one table, not {len(tables)}")
    return csv(tables[0])


FORMATS: dict[str, Format] = {
    "table": lambda tables, plain: "\n".join(terminal(table, None, plain) for table in tables),
    "markdown": _each(markdown),
    "csv": _one_csv,
    "latex": _each(latex.environment),
    "html": lambda tables, plain: html.page(tables),
    "json": lambda tables, plain: json(tables),
}
"""Every format by the name that --format takes."""


def render(tables: Sequence[Table], form: str, plain: bool = False) -> str:
    """Return tables one below another in one of FORMATS.

    Args:
        tables: The tables.
        form: The name of the format.
        plain: Leave out the styles of a terminal, as for a file.

    Raises:
        UnknownName: There is no such format.
        ValueError: Several tables are to be CSV, which holds one.
    """
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    return FORMATS[form](tables, plain)
