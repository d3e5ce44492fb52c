"""A table as text: for the terminal, Markdown, CSV, LaTeX, HTML, JSON."""

from __future__ import annotations

import json as _json
import re
from collections.abc import Callable, Sequence
from typing import Any

from upbench.errors import unknown
from upbench.report.formats import html, latex
from upbench.report.formats import terminal as _terminal
from upbench.report.formats.table import Rank, Table, letter

EMPHASIS = {Rank.none: "{}", Rank.best: "**{}**", Rank.second: "<u>{}</u>"}


def terminal(table: Table, width: int | None = None, plain: bool = False) -> str:
    """A table drawn for a terminal, see `formats.terminal`."""
    return _terminal.draw(table, width, plain)


def markdown(table: Table) -> str:
    """GitHub-flavoured Markdown: title, table, footnotes, notes. The best is bold, the second best underlined."""
    from tabulate import tabulate

    align = ["right" if numeric else "left" for numeric in table.numeric]
    suffix = {n: span.suffix for span in table.spans for n in range(span.first, span.last + 1)}
    heads = [f"{_escape(head)}{suffix.get(n, '')}{_mark(table, -1, n)}" for n, head in enumerate(table.heads)]
    rows: list[list[str]] = []
    for m, row in enumerate(table.rows):
        if m in table.groups:
            rows.append([f"*{_escape(table.groups[m])}*", *[""] * (len(table.heads) - 1)])
        rows.append(
            [f"{EMPHASIS[table.rank(m, n)].format(_escape(text))}{_mark(table, m, n)}" for n, text in enumerate(row)]
        )
    body = tabulate(rows, heads, tablefmt="github", colalign=align if rows else None, disable_numparse=True)
    under = [f"<sup>{letter(n)}</sup> {_prose(text)}." for n, text in enumerate(table.footnotes)]
    notes = "\n".join(f"- {note}" for note in [*under, *map(_prose, table.notes)])
    return f"**{_prose(table.title)}**\n\n{body}\n\n{notes}\n"


def _escape(text: str) -> str:
    return _prose(text).replace("|", "\\|")


def _prose(text: str) -> str:
    """Text in which `<class 'Up'>` of an error message is no HTML; `code` stays as it is."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if n % 2 else part.replace("<", "&lt;") for n, part in enumerate(parts))


def _mark(table: Table, row: int, column: int) -> str:
    letters = table.letters(row, column)
    return f"<sup>{letters}</sup>" if letters else ""


def csv(table: Table) -> str:
    """Raw values in SI base units, one row a record; empty where unknown."""
    import pandas

    frame = pandas.DataFrame(table.raw_rows, columns=table.raw_heads, dtype=object)
    return frame.to_csv(index=False, lineterminator="\n")


def data(table: Table) -> dict[str, Any]:
    """A table as JSON has it: raw rows in SI base units, and what stands around them.

    emphasis: for each row, shown head -> "best" or "second".
    """
    return {
        "title": table.title,
        "rows": [dict(zip(table.raw_heads, row, strict=True)) for row in table.raw_rows],
        "emphasis": [
            {table.heads[n]: rank.name for n in range(len(table.heads)) if (rank := table.rank(m, n))}
            for m in range(len(table.rows))
        ],
        "footnotes": [
            {"row": m if m >= 0 else None, "column": table.heads[n], "text": table.footnotes[number]}
            for (m, n), numbers in table.refs.items()
            for number in numbers
        ],
        "notes": table.notes,
    }


def json(tables: Sequence[Table]) -> str:
    """Tables as one JSON object."""
    return _json.dumps({"schema": 1, "tables": [data(table) for table in tables]}, indent=2) + "\n"


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
