"""How a table is set in LaTeX, so that it fits a column: size of type, lines of heads and of cells, where names stand."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

from upbench import units
from upbench.report.formats.latex_text import cell, points, without_commands
from upbench.report.formats.table import Rank, Span, Table

COLUMN_PT, PAGE_PT = 229.0, 469.0
"""Width of a column and of a page in points: of the class article, whose are the narrowest of those that papers use."""
SIZES = (("small", 0.925, 4.0), ("footnotesize", 0.851, 3.0), ("scriptsize", 0.797, 2.0), ("tiny", 0.682, 1.5))
"""Sizes of type, the largest first: command, part of the size of 10 pt, points on each side of a column."""
FOOTNOTE = SIZES[1]
"""The size of notes below the rows."""
NARROW_PT = 40.0
"""The width to which the first column is narrowed where its text would make the type tiny."""
HEAD_LINES, TIGHT_LINES = 2, 4
"""The most lines of a head, and of one in a tight table."""
UNIT = 4
"""What stands behind a number and is longer than this is no unit, and goes below the number in a tight table."""
LINE_PT, PAGE_HIGH_PT = 12.0, 500.0
"""Height of a line in type of 10 pt, and of the rows of the highest table on a page of the class article, in points."""
EDGE = "@{}"
"""What stands at both ends of the columns: no space beside the table."""
BOLD = 1.15
"""How much wider bold type is."""


@dataclass(frozen=True)
class Form:
    """How a table is set.

    Args:
        size: The command of the size of type.
        gap: Points on each side of a column.
        columns: The columns of the tabular.
        tight: Whether heads have up to four lines, and what stands behind a number goes below it.
        units: For each column the unit that its head says for all cells of a tight table; empty where there is none.
        above: Whether the first column stands in lines of its own, above the rest of its row.
        fits: Whether the table is no wider than its column or page.
        wraps: The column whose text wraps; None for none.
        wraps_at: Its width in points.
    """

    size: str
    gap: float
    columns: str
    tight: bool = False
    units: tuple[str, ...] = ()
    above: bool = False
    fits: bool = True
    wraps: int | None = None
    wraps_at: float = 0.0


def form_of(table: Table) -> Form:
    """Return the form in which the table fits.

    Where its type would be smaller than \\scriptsize, the text of the first column wraps; where that is not enough, the
    table is tight, and then a first column of long names stands above the others. At last the widest text wraps.

    Args:
        table: The table.
    """
    room = PAGE_PT if table.star else COLUMN_PT
    plain = "".join("r" if numeric else "l" for numeric in table.numeric)
    found = tuple(_unit(table, n) for n in range(len(plain)))
    edged = f"{EDGE}{plain}{EDGE}"
    loose, tight = Form("", 0.0, edged, units=("",) * len(plain)), Form("", 0.0, edged, True, found)
    named = bool(plain) and not table.numeric[0]

    def fitted(
        size: tuple[str, float, float], form: Form, wraps: int | None = None, above: bool = False
    ) -> Form | None:
        command, part, gap = size
        widths = [width(table, n, form) * part for n in range(len(plain))] or [0.0]
        rest = sum(widths) - widths[wraps or 0] + 2 * gap * (len(plain) - 1)
        sized = replace(form, size=command, gap=gap)
        if above:
            return replace(sized, above=True) if named and widths[0] > 2 * NARROW_PT * part and rest <= room else None
        if widths[wraps or 0] + rest <= room:
            return sized
        narrow = int(room - rest)
        if wraps is None or table.numeric[wraps] or narrow < NARROW_PT:
            return None
        columns = f"{EDGE}{plain[:wraps]}p{{{narrow}pt}}{plain[wraps + 1 :]}{EDGE}"
        return replace(sized, columns=columns, wraps=wraps, wraps_at=narrow)

    small, footnote, script, tiny = SIZES
    first = 0 if plain else None
    texts = [n for n in range(len(plain)) if not table.numeric[n]]
    widest = max(texts, key=lambda n: width(table, n, tight), default=None)
    forms = (
        *(fitted(size, loose) for size in (small, footnote, script)),
        fitted(script, loose, first),
        *(fitted(size, tight, wraps) for size in (footnote, script) for wraps in (None, first)),
        *(fitted(size, tight, above=True) for size in (footnote, script)),
        fitted(tiny, loose, first),
        fitted(tiny, tight, first),
        fitted(tiny, tight, above=True),
        *(fitted(size, tight, widest) for size in (script, tiny)),
    )
    return next((form for form in forms if form), replace(tight, size=tiny[0], gap=tiny[2], fits=False))


def is_high(table: Table, form: Form, below: str) -> bool:
    """Return whether a table is higher than a page.

    Args:
        table: The table.
        form: How it is set.
        below: The notes that stand below its rows.
    """
    part = next(part for size, part, _ in SIZES if size == form.size)

    def lines(row: int) -> int:
        cells = [len(cell_lines(table, row, n, form)) for n in range(len(table.heads))]
        wrapped = 0.0 if form.wraps is None else _points(table, row, form.wraps, form) * part / form.wraps_at
        return max(1, *cells, math.ceil(wrapped)) + form.above

    of_rows = sum(map(lines, range(len(table.rows)))) + len(table.groups)
    of_notes = math.ceil(points(without_commands(below)) * FOOTNOTE[1] / PAGE_PT)
    return LINE_PT * (part * of_rows + FOOTNOTE[1] * of_notes) > PAGE_HIGH_PT


def width(table: Table, column: int, form: Form) -> float:
    """Return the width of a column in points, in type of 10 pt; no word of a head above its head is wider.

    Args:
        table: The table.
        column: Number of the column.
        form: How the table is set; its size is of no matter.
    """
    own = max((_points(table, m, column, form) for m in range(-1, len(table.rows))), default=0.0)
    above = [span for span in table.spans if span.first == span.last == column]
    words = [word for span in above for word in span.text.split()]
    return max([own, *(points(word) for word in words)])


def _unit(table: Table, column: int) -> str:
    """Return the unit that all numbers of a column have; empty where they have several, or none."""
    if not table.numeric[column]:
        return ""
    cells = {row[column] for row in table.rows} - {units.DASH, ""}
    found = [re.fullmatch(rf"[-+]?[\d,.]+ (\S{{1,{UNIT}}})", text) for text in cells]
    named = {match[1] if match else "" for match in found}
    return named.pop() if len(named) == 1 else ""


def head_text(table: Table, column: int, form: Form) -> str:
    """Return the text of a head, with the unit of its numbers where the form says it once."""
    unit = form.units[column]
    return f"{table.heads[column]} ({unit})" if unit else table.heads[column]


def cell_lines(table: Table, row: int, column: int, form: Form) -> list[str]:
    """Return a cell in lines: one, or in a tight table the number and what stands behind it."""
    text = table.rows[row][column]
    if not form.tight or not table.numeric[column]:
        return [cell(text, table.numeric[column])]
    if unit := form.units[column]:
        text = text.removesuffix(f" {unit}")
    first, _, rest = text.partition(" ")
    return [cell(first, True), cell(rest, True)] if len(rest) > UNIT else [cell(text, True)]


def _points(table: Table, row: int, column: int, form: Form) -> float:
    """Return the width of a cell, or of a head where the row is -1, in type of 10 pt, its footnotes included."""
    marks = len(table.refs.get((row, column), [])) + (row < 0 and column == len(table.heads) - 1 and bool(table.notes))
    own = cell_lines(table, row, column, form) if row >= 0 else []
    heads = lines_of_head(head_text(table, column, form), form.tight)
    wide = max(map(points, own or (map(without_commands, heads) if column in table.written else heads)))
    return wide * (BOLD if table.rank(row, column) is Rank.best else 1.0) + 5 * marks


def lines_of_head(text: str, tight: bool) -> list[str]:
    """Cut a head of several words into lines of about the same length: two, in a tight table as many as make it narrow."""
    words = text.split(" ")
    if len(words) == 1 or len(text) <= 9 or re.search(r"[$\\{]", text):
        return [text]
    best = [text]
    for count in range(2, (TIGHT_LINES if tight else HEAD_LINES) + 1):
        cuts = [_cut(words, at) for at in combinations(range(1, len(words)), count - 1)]
        narrow = min(cuts, key=lambda cut: max(map(len, cut)), default=best)
        best = narrow if max(map(len, narrow)) < max(map(len, best)) else best
    return best


def _cut(words: list[str], at: tuple[int, ...]) -> list[str]:
    ends = (0, *at, len(words))
    return [" ".join(words[first:last]) for first, last in pairwise(ends)]


def span_lines(table: Table, span: Span, form: Form) -> list[str]:
    """Cut a head above heads into lines that are no wider than the columns below it."""
    room = sum(width(table, n, form) for n in range(span.first, span.last + 1))
    lines: list[str] = []
    for word in [span.text] if re.search(r"[$\\{]", span.text) else span.text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and points(joined) <= room:
            lines[-1] = joined
        else:
            lines.append(word)
    return lines
