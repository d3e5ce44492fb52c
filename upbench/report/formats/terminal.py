"""A table drawn for a terminal."""

from __future__ import annotations

import io
import os
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from upbench.report.formats import widths
from upbench.report.formats.table import Rank, Table, letter
from upbench.report.formats.widths import mark

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

GROUP = "\ue000"
"""A character that stands for a line across all columns until the table is drawn: rich has no cell that spans."""
STYLES = {Rank.best: "bold", Rank.second: "underline"}
"""The style of each rank."""
ROWS = 200
"""Rows that are laid out at a time, so that a long table is not in memory many times."""


def draw(table: Table, width: int | None = None, plain: bool = False) -> str:
    """Return a table drawn for a terminal: long text wraps, nothing is cut off.

    A table that is too wide is drawn in blocks, each with the columns that name its rows (`lead`), else with the first.
    The best and second best are bold and underlined where the terminal can, or FORCE_COLOR is set; else they are not
    marked.

    Args:
        table: The table.
        width: The columns of the terminal; None asks it, and takes what the table needs where there is none.
        plain: Mark nothing.
    """
    from rich.console import Console
    from rich.text import Text

    available = width if width is not None else Console().width if _is_terminal() or "COLUMNS" in os.environ else None
    styled = bool(table.ranks) and not plain and (_is_terminal() or forced())
    layout = widths.fit(table, available)
    console = Console(
        file=io.StringIO(),
        width=layout.room + 1,
        highlight=False,
        markup=False,
        emoji=False,  # mine.up:Up is no arrow
        force_terminal=styled,
        color_system="standard" if styled else None,
    )
    if table.headline:
        console.print(table.headline, width=layout.room)
    if table.title:
        console.print(Text(table.title, "table.title"), width=layout.room)
    lines = _taken(console)
    for block in layout.blocks:
        for line in _rows(table, block, layout.widths, console):
            lines += _line(table, line, layout.room).splitlines() or [""]
    notes = [
        *(f"[{letter(n)}] {text}." for n, text in enumerate(table.footnotes)),
        *(note for note in table.notes if styled or not note.startswith("Best of ")),
    ]
    for note in notes:
        console.print(note, width=layout.room)
    return "\n".join(line.rstrip() for line in [*lines, *_taken(console)]) + "\n"


def _taken(console: Console) -> list[str]:
    """The lines that were printed since the last time."""
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    console.file = io.StringIO()
    return text.splitlines()


def _rows(table: Table, block: list[int], width: Mapping[int, int], console: Console) -> Iterator[str]:
    """The lines of a block, part by part; all parts have the same columns, since `width` is that of the whole table."""
    for start in range(0, max(1, len(table.rows)), ROWS):
        end = min(start + ROWS, len(table.rows))
        console.print(_draw(table, block, width, range(start, end)))
        with_top = start == 0 or start in table.groups  # the edge of a part is as blank as the line above a group
        yield from _taken(console)[0 if with_top else 1 : None if end == len(table.rows) else -1]


def _line(table: Table, line: str, room: int) -> str:
    """A line as drawn, with the line of a group in its place."""
    group = re.search(f"{GROUP}(\\d+)", line)
    return textwrap.fill(table.groups[int(group[1])], room) if group else line


def forced() -> bool:
    """Return whether styles are wanted where there is no terminal, as for `less -R`."""
    return bool(os.environ.get("FORCE_COLOR"))


def _is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _draw(table: Table, block: list[int], width: Mapping[int, int], rows: range) -> RichTable:
    """Some rows of a block; the first ones have the heads above them."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, show_header=rows.start == 0)
    for n in block:
        align = "right" if table.numeric[n] else "left"
        head = Text(f"{table.heads[n]}{mark(table, -1, n)}")
        drawn.add_column(head, justify=align, width=width[n], overflow="fold")  # type: ignore[arg-type]
    for m in rows:
        if m in table.groups:
            if m > rows.start:
                drawn.add_section()
            drawn.add_row(f"{GROUP}{m}")
        cells = [Text().append(table.rows[m][n], STYLES.get(table.rank(m, n))).append(mark(table, m, n)) for n in block]
        drawn.add_row(*cells)
    return drawn
