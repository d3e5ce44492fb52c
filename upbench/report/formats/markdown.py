"""A table as GitHub-flavoured Markdown."""

from __future__ import annotations

import re

from upbench.report.formats.table import Rank, Table, letter

EMPHASIS = {Rank.none: "{}", Rank.best: "**{}**", Rank.second: "<u>{}</u>"}
"""The markup of each rank."""


def markdown(table: Table) -> str:
    """Return a table as GitHub-flavoured Markdown: title, table, footnotes, notes. The second best is underlined."""
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
