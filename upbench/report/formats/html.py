"""Tables as one HTML page, readable by people, by screen readers and in print."""

from __future__ import annotations

import re
from collections.abc import Sequence

from upbench.report.formats.table import Rank, Table, letter

EMPHASIS = {Rank.none: "{}", Rank.best: "<b>{}</b>", Rank.second: "<u>{}</u>"}
"""The markup of each rank."""
GENERATOR = '<meta name="generator" content="upbench">'
"""The mark of pages that upbench wrote."""
STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 2rem; max-width: 90rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .5rem; }
th, td { padding: .2rem .7rem; text-align: left; vertical-align: baseline; white-space: nowrap; }
.n { text-align: right; }
th { font-weight: 500; }
thead tr:first-child > * { border-top: 2px solid; }
thead tr:last-child > * { border-bottom: 1px solid; }
.span { text-align: center; border-bottom: 1px solid; }
tbody + tbody > tr:first-child > * { border-top: 1px solid; }
tbody:last-child > tr:last-child > * { border-bottom: 2px solid; }
tbody .group { font-style: italic; }
.notes { font-size: .875rem; max-width: 60rem; }
"""
"""The style sheet of the page."""


def page(tables: Sequence[Table]) -> str:
    """Return a complete page. Rows and columns have headers with a scope, footnotes are links, there is no script."""
    title = escape(tables[0].title) if tables else ""
    body = "\n".join(fragment(table, n) for n, table in enumerate(tables))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{GENERATOR}\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def fragment(table: Table, number: int = 0) -> str:
    """Return one table with its notes.

    Args:
        table: The table.
        number: The number of the table on its page, which makes its ids unique.
    """
    name = f"t{number}"
    lines = [f"<p>{_prose(table.headline)}</p>"] if table.headline else []
    lines += ['<section class="wide">', "<table>", f"<caption>{escape(table.title)}</caption>"]
    lines += ["<thead>", *_spans(table), "<tr>"]
    lines += [
        f'<th scope="col"{_align(table, n)}>{escape(head)}{_mark(table, -1, n, name)}</th>'
        for n, head in enumerate(table.heads)
    ]
    lines += ["</tr>", "</thead>", "<tbody>"]
    for m, row in enumerate(table.rows):
        if m in table.groups:
            lines += ["</tbody>", "<tbody>"] if m else []
            lines.append(
                f'<tr><th scope="rowgroup" class="group" colspan="{len(table.heads)}">{escape(table.groups[m])}</th></tr>'
            )
        cells = [_cell(table, m, n, text, name) for n, text in enumerate(row)]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    lines += ["</tbody>", "</table>", "</section>"]
    under = [
        f'<li id="{name}-{letter(n)}"><sup>{letter(n)}</sup> {_prose(text)}.</li>'
        for n, text in enumerate(table.footnotes)
    ]
    under += [f"<li>{_prose(note)}</li>" for note in table.exported()]
    return "\n".join([*lines, *(['<ul class="notes">', *under, "</ul>"] if under else [])])


def _prose(text: str) -> str:
    """A sentence, with `code` as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))


def _cell(table: Table, row: int, column: int, text: str, name: str) -> str:
    inside = EMPHASIS[table.rank(row, column)].format(escape(text)) + _mark(table, row, column, name)
    if column < table.lead:
        return f'<th scope="row"{_align(table, column)}>{inside}</th>'
    return f"<td{_align(table, column)}>{inside}</td>"


def _align(table: Table, column: int) -> str:
    return ' class="n"' if table.numeric[column] else ""


def _mark(table: Table, row: int, column: int, name: str) -> str:
    letters = [letter(n) for n in table.refs.get((row, column), [])]
    links = [f'<a href="#{name}-{mark}" aria-label="footnote {mark}">{mark}</a>' for mark in letters]
    return f"<sup>{','.join(links)}</sup>" if links else ""


def _spans(table: Table) -> list[str]:
    if not table.spans:
        return []
    cells, n = [], 0
    for span in sorted(table.spans, key=lambda s: s.first):
        if span.first > n:
            cells.append(f'<td colspan="{span.first - n}"></td>')
        cells.append(
            f'<th scope="colgroup" class="span" colspan="{span.last - span.first + 1}">{escape(span.text)}</th>'
        )
        n = span.last + 1
    if n < len(table.heads):
        cells.append(f'<td colspan="{len(table.heads) - n}"></td>')
    return [f"<tr>{''.join(cells)}</tr>"]


def escape(text: str) -> str:
    """Return text with the characters that HTML gives a meaning written as entities."""
    from html import escape as escaped  # with a table of all entities, which `--help` need not load

    return escaped(text)
