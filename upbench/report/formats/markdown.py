"""A table as GitHub-flavoured Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from upbench.report.formats.table import Rank, Table, letter

EMPHASIS = {Rank.none: "{}", Rank.best: "**{}**", Rank.second: "<u>{}</u>"}
"""The markup of each rank."""


ROWS = 500
"""Rows that are laid out at a time, so that a long table is not in memory many times."""


def markdown(table: Table) -> str:
    """Return a table as GitHub-flavoured Markdown: headline, title, table, footnotes, notes. The second best is underlined."""
    from tabulate import tabulate

    align = ["right" if numeric else "left" for numeric in table.numeric]
    suffix = {n: span.suffix for span in table.spans for n in range(span.first, span.last + 1)}
    heads = [f"{_escape(head)}{suffix.get(n, '')}{_mark(table, -1, n)}" for n, head in enumerate(table.heads)]
    rows = [text for m in range(min(ROWS, len(table.rows))) for text in _rows(table, m)]
    if len(table.rows) <= ROWS:
        body = tabulate(rows, heads, tablefmt="github", colalign=align if rows else None, disable_numparse=True)
    else:
        body = "\n".join(_in_parts(table, heads, align))
    under = [f"<sup>{letter(n)}</sup> {_prose(text)}." for n, text in enumerate(table.footnotes)]
    notes = "\n".join(f"- {note}" for note in [*under, *map(_prose, table.exported())])
    headline = f"{_prose(table.headline)}\n\n" if table.headline else ""
    return f"{headline}**{_prose(table.title)}**\n\n{body}\n\n{notes}\n"


def _rows(table: Table, number: int) -> Iterator[list[str]]:
    """A row as Markdown has it, after the line above it where there is one."""
    if number in table.groups:
        yield [f"*{_escape(table.groups[number])}*", *[""] * (len(table.heads) - 1)]
    yield [
        f"{EMPHASIS[table.rank(number, n)].format(_escape(text))}{_mark(table, number, n)}"
        for n, text in enumerate(table.rows[number])
    ]


def _in_parts(table: Table, heads: list[str], align: list[str]) -> Iterator[str]:
    """The lines of a long table, laid out part by part: a row of the longest cells gives each part the same columns."""
    from tabulate import tabulate

    longest = list(heads)
    for m in range(len(table.rows)):
        for row in _rows(table, m):
            longest = [max(a, *b.splitlines(), "", key=len) for a, b in zip(longest, row, strict=True)]
    for start in range(0, len(table.rows), ROWS):
        numbers = range(start, min(start + ROWS, len(table.rows)))
        rows = [longest, *(row for m in numbers for row in _rows(table, m))]
        lines = tabulate(rows, heads, tablefmt="github", colalign=align, disable_numparse=True).splitlines()
        yield from [*(lines[:2] if start == 0 else []), *lines[3:]]


def _escape(text: str) -> str:
    return _prose(text).replace("|", "\\|")


def _prose(text: str) -> str:
    """Text in which `<class 'Up'>` of an error message is no HTML; `code` stays as it is."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if n % 2 else part.replace("<", "&lt;") for n, part in enumerate(parts))


def _mark(table: Table, row: int, column: int) -> str:
    letters = table.letters(row, column)
    return f"<sup>{letters}</sup>" if letters else ""
