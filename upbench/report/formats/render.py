"""The formats that tables are printed in, by name; each has a file of its own beside this one."""

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
    """A table drawn for a terminal, see `formats.terminal`."""
    return _terminal.draw(table, width, plain)


Format = Callable[[Sequence[Table], bool], str]
"""Makes the text of tables, one below another; the second argument: without the styles of a terminal, as for a file."""


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
    "latex": _each(latex.table),
    "html": lambda tables, plain: html.page(tables),
    "json": lambda tables, plain: json(tables),
}
"""Every format by the name that --format takes."""


def render(tables: Sequence[Table], form: str, plain: bool = False) -> str:
    """Tables one below another in one of FORMATS. plain: without the styles of a terminal, as for a file.

    Raises UnknownName for another format, ValueError for several tables as CSV, which holds one.
    """
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    return FORMATS[form](tables, plain)
