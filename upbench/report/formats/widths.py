"""How wide the columns of a table are on a terminal, and in how many blocks they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from upbench.report.formats.table import Table

GAP = 2
"""Characters between two columns."""
MARGIN = 1
"""Characters before the first column; the one behind the last is a space, which is not printed."""
WRAPS = (24, 16, 12)
"""Widths to which columns of text are narrowed before a table is folded, one after another."""
LEAD = 28
"""The width to which a column that names the rows is narrowed."""


@dataclass(frozen=True)
class Layout:
    """The columns of a table in blocks, one below another.

    Args:
        blocks: For each block its columns, the leading ones first.
        widths: The width of each column of the table.
        room: The width of everything.
    """

    blocks: list[list[int]]
    widths: dict[int, int]
    room: int


def fit(table: Table, available: int | None) -> Layout:
    """Return a layout that is no wider than a terminal; heads and text wrap first, then columns go to further blocks.

    A column of numbers is never cut. Where a single one is too wide beside the names of the rows, the layout is wider.

    Args:
        table: The table.
        available: The width of the terminal; None for as wide as the table needs.
    """
    columns = list(range(len(table.heads)))
    natural = {n: max(_head(table, n), _cell(table, n)) for n in columns}
    if available is None:
        limits = {
            n: min(natural[n], max(_words(table, n), WRAPS[0])) if n in _prose(table) else natural[n] for n in columns
        }
        room = max(100, _needed(columns, limits if table.lead else natural))
        return Layout([columns], _grown(columns, limits, natural, room), room)
    for wrap in WRAPS:
        least = _least(table, natural, wrap)
        if _needed(columns, least) <= available:
            return Layout([columns], _grown(columns, least, natural, available), available)
    least = _least(table, natural, WRAPS[0])
    lead = columns[: max(table.lead, 1)]
    blocks, widths = _blocks(lead, columns[len(lead) :], least, available), dict[int, int]()
    for block in blocks:
        tight = dict(least)
        for n in reversed(block):  # text gives way where even one column beside the names is too wide
            over = _needed(block, tight) - available
            if over > 0 and not table.numeric[n]:
                tight[n] = max(min(_words(table, n), 10), tight[n] - over)
        grown = _grown(block, tight, natural, available)
        widths |= {n: width for n, width in grown.items() if n not in widths or width < widths[n]}
    return Layout(blocks, widths, max(available, *(_needed(block, widths) for block in blocks)))


def _needed(block: Sequence[int], widths: dict[int, int]) -> int:
    return sum(widths[n] for n in block) + GAP * (len(block) - 1) + MARGIN


def _blocks(lead: list[int], rest: list[int], least: dict[int, int], available: int) -> list[list[int]]:
    """The columns in blocks that fit, each beginning with the leading ones."""
    blocks, block = list[list[int]](), list(lead)
    for n in rest:
        if len(block) > len(lead) and _needed([*block, n], least) > available:
            blocks.append(block)
            block = list(lead)
        block.append(n)
    return [*blocks, block]


def _least(table: Table, natural: dict[int, int], wrap: int) -> dict[int, int]:
    """The least width of each column: numbers stay whole, heads wrap between words, text at `wrap`."""
    found = {}
    for n in natural:
        cell = _cell(table, n)
        if not table.numeric[n]:
            cell = min(cell, LEAD if n < max(table.lead, 1) else wrap)
        found[n] = max(_words(table, n), cell)
    return found


def _grown(block: Sequence[int], least: dict[int, int], natural: dict[int, int], room: int) -> dict[int, int]:
    """The widths of a block when what is free goes to the columns that want more, those that want least first."""
    widths = {n: least[n] for n in block}
    free = room - _needed(block, widths)
    wanting = sorted((n for n in block if natural[n] > widths[n]), key=lambda n: natural[n] - widths[n])
    for number, n in enumerate(wanting):
        more = max(0, min(natural[n] - widths[n], free // (len(wanting) - number)))
        widths[n] += more
        free -= more
    return widths


def _prose(table: Table) -> list[int]:
    """The columns of text, besides those that name the row."""
    return [n for n in range(table.lead, len(table.heads)) if table.lead and not table.numeric[n]]


def mark(table: Table, row: int, column: int) -> str:
    """Return the footnotes of a cell or a head as they stand behind it: ' [a]'.

    Args:
        table: The table.
        row: Number of the row; -1 for the head.
        column: Number of the column.
    """
    letters = table.letters(row, column)
    return f" [{letters}]" if letters else ""


def _head(table: Table, column: int) -> int:
    return len(table.heads[column]) + len(mark(table, -1, column))


def _words(table: Table, column: int) -> int:
    """The longest word of a head; its footnotes stay with the last one."""
    *words, last = table.heads[column].split() or [""]
    return max(map(len, [*words, f"{last}{mark(table, -1, column)}", "x"]))


def _cell(table: Table, column: int) -> int:
    return max([len(row[column]) + len(mark(table, m, column)) for m, row in enumerate(table.rows)], default=0)
