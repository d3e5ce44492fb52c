"""The table of a section: every column, with what rows are sorted by."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html import escape
from typing import Any

from upbench.report.formats.table import Rank, Table, letter
from upbench.report.tables import sweep
from upbench.report.tables.result_set import ResultSet

_MARKUP = {Rank.none: "{}", Rank.best: "<b>{}</b>", Rank.second: "<u>{}</u>"}
LONG = 60
"""Rows from which a table scrolls by itself."""
_CODE = re.compile(r"`([^`]+)`")


def table(results: ResultSet, title: str, name: str) -> str:
    """Return the table of results as HTML, with a field that filters its rows.

    Args:
        results: The results.
        title: What they are.
        name: A name for ids, unique in the page.
    """
    made = sweep.default_table(results, title)
    body = "\n".join(_bodies(made, name))
    heads = "".join(_head(made, n, name) for n in range(len(made.heads)))
    return (
        f'<p class="controls"><label>Rows with <input type="search" data-filters="{name}" placeholder="dysample 11"></label> '
        f'<output data-counts="{name}">{len(made.rows)} of {len(made.rows)}</output></p>\n'
        f'<div class="{box(len(made.rows))}"><table class="results" id="{name}">\n<caption>{escape(made.title)}</caption>\n'
        f"<thead>{_spans(made)}<tr>{heads}</tr></thead>\n{body}\n</table></div>\n{_notes(made, name)}"
    )


def box(rows: int) -> str:
    """Return the classes of what a table stands in: a long one scrolls by itself, so that what follows it is in reach.

    Args:
        rows: How many rows it has.
    """
    return "wide long" if rows > LONG else "wide"


def _spans(made: Table) -> str:
    """The row of heads above the heads; none where there are none."""
    if not made.spans:
        return ""
    starts, cells, n = {span.first: span for span in made.spans}, [], 0
    while n < len(made.heads):
        span = starts.get(n)
        width = span.last - span.first + 1 if span else 1
        cells.append(f'<th class="span" colspan="{width}">{escape(span.text) if span else ""}</th>')
        n += width
    return f"<tr>{''.join(cells)}</tr>"


def _head(made: Table, column: int, name: str) -> str:
    text = escape(made.heads[column]) or "&nbsp;"
    side = ' class="n"' if made.numeric[column] else ""
    return f'<th scope="col"{side}><button type="button" data-column="{column}">{text}</button>{_marks(made, -1, column, name)}</th>'


def _bodies(made: Table, name: str) -> list[str]:
    """One body of rows for each machine: rows are sorted within it."""
    bodies: list[str] = []
    rows: list[str] = []
    for m in range(len(made.rows)):
        if m in made.groups:
            if rows:
                bodies.append(f"<tbody>{''.join(rows)}</tbody>")
            heading = f'<tr class="group"><th colspan="{len(made.heads)}">{escape(made.groups[m])}</th></tr>'
            bodies.append(f'<tbody class="heading">{heading}</tbody>')
            rows = []
        rows.append(f"<tr>{''.join(_cell(made, m, n, name) for n in range(len(made.heads)))}</tr>")
    return [*bodies, f"<tbody>{''.join(rows)}</tbody>"]


def _cell(made: Table, row: int, column: int, name: str) -> str:
    text = _MARKUP[made.rank(row, column)].format(escape(made.rows[row][column]))
    tag = "th" if column == 0 else "td"
    kind = ' scope="row"' if column == 0 else ' class="n"' if made.numeric[column] else ""
    return f"<{tag}{kind}{_sorted_by(made.raw_rows[row][column])}>{text}{_marks(made, row, column, name)}</{tag}>"


def _sorted_by(value: Any) -> str:
    """The attribute that rows are sorted by: a number, or nothing where the text decides."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return f' data-v="{value!r}"' if number else ""


def _marks(made: Table, row: int, column: int, name: str) -> str:
    links = (f'<a href="#{name}-{letter(n)}">{letter(n)}</a>' for n in made.refs.get((row, column), []))
    found = ",".join(links)
    return f"<sup>{found}</sup>" if found else ""


def _notes(made: Table, name: str) -> str:
    shown = made.with_notes("brief").exported()
    more = [note for note in made.exported() if note not in shown]
    parts = [f"<p>{prose(note)}</p>" for note in shown]
    if more:
        parts.append(f"<details><summary>{len(more)} more notes</summary>{_paragraphs(more)}</details>")
    marks = "".join(f'<li id="{name}-{letter(n)}">{prose(text)}</li>' for n, text in enumerate(made.footnotes))
    listed = f'<ol type="a">{marks}</ol>' if marks else ""
    return f'<div class="notes">{"".join(parts)}{listed}</div>'


def _paragraphs(notes: Sequence[str]) -> str:
    return "".join(f"<p>{prose(note)}</p>" for note in notes)


def prose(text: str) -> str:
    """Return a sentence as HTML, what stands between back quotes as code.

    Args:
        text: The sentence.
    """
    return _CODE.sub(r"<code>\1</code>", escape(text, quote=False))
