"""A table drawn for a terminal."""

from __future__ import annotations

import io
import os
import re
import sys
from typing import TYPE_CHECKING

from upbench.report.formats.table import Rank, Table, letter

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

GROUP = "\ue000"
"""A character that stands for a line across all columns until the table is drawn: rich has no cell that spans."""
WRAP = 24
"""The width, in characters, below which a column of text is not narrowed."""
STYLES = {Rank.best: "bold", Rank.second: "underline"}
"""The style of each rank."""


def draw(table: Table, width: int | None = None, plain: bool = False) -> str:
    """Return a table drawn for a terminal: long text wraps, nothing is cut off.

    A table whose first columns name its rows (`lead`) and that is too wide is drawn in blocks, each with these columns.
    The best and second best are bold and underlined where the terminal can, or FORCE_COLOR is set; else they are not
    marked.

    Args:
        table: The table.
        width: The columns of the terminal; None asks it, and takes what the table needs where there is none.
        plain: Mark nothing.
    """
    from rich.console import Console

    available = width if width is not None else Console().width if _is_terminal() or "COLUMNS" in os.environ else None
    styled = bool(table.ranks) and not plain and (_is_terminal() or forced())
    everything = list(range(len(table.heads)))
    if available is None:
        blocks, room = [everything], max(100, _needed(table, everything))
    elif table.lead and _needed(table, everything) > available:
        blocks = _blocks(table, available)
        room = max(available, *(_needed(table, block) for block in blocks))
    else:
        widest = _widest(table)
        needed = _needed(table, everything)
        shortest = needed - max([len(row[widest]) for row in table.rows] or [0]) + 20
        blocks, room = [everything], max(available, min(needed, shortest))
    console = Console(
        file=io.StringIO(),
        width=room,
        highlight=False,
        markup=False,
        emoji=False,  # mine.up:Up is no arrow
        force_terminal=styled,
        color_system="standard" if styled else None,
    )
    for n, block in enumerate(blocks):
        console.print(_draw(table, block, first=n == 0))
    drawn = "\n".join(_line(table, line) for line in _taken(console).split("\n"))
    notes = [
        *(f"[{letter(n)}] {text}." for n, text in enumerate(table.footnotes)),
        *(note for note in table.notes if styled or not note.startswith("Best of ")),
    ]
    for note in notes:
        console.print(note, soft_wrap=False)
    return "\n".join(line.rstrip() for line in (drawn + _taken(console)).splitlines()) + "\n"


def _taken(console: Console) -> str:
    """What was printed since the last time."""
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    console.file = io.StringIO()
    return text


def _line(table: Table, line: str) -> str:
    """A line as drawn, with the line of a group in its place."""
    group = re.search(f"{GROUP}(\\d+)", line)
    return table.groups[int(group[1])] if group else line


def forced() -> bool:
    """Return whether styles are wanted where there is no terminal, as for `less -R`."""
    return bool(os.environ.get("FORCE_COLOR"))


def _is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _needed(table: Table, block: list[int]) -> int:
    from rich.console import Console

    full = Console(width=10_000).measure(_draw(table, block, first=False)).maximum
    return full - sum(max(0, _length(table, n) - WRAP) for n in block if n in _prose(table))


def _length(table: Table, column: int) -> int:
    return max([len(row[column]) for row in table.rows], default=0)


def _prose(table: Table) -> list[int]:
    """The columns of text, besides those that name the row: they may wrap."""
    return [n for n in range(table.lead, len(table.heads)) if table.lead and not table.numeric[n]]


def _widest(table: Table) -> int:
    return max(range(len(table.heads)), key=lambda n: max([len(row[n]) for row in table.rows] or [0]))


def _blocks(table: Table, width: int) -> list[list[int]]:
    """The columns in blocks that fit, each beginning with the leading ones; a column too wide for any is alone."""
    lead = list(range(table.lead))
    blocks: list[list[int]] = []
    block = list(lead)
    for n in range(table.lead, len(table.heads)):
        if len(block) > len(lead) and _needed(table, [*block, n]) > width:
            blocks.append(block)
            block = list(lead)
        block.append(n)
    return [*blocks, block]


def _draw(table: Table, block: list[int], first: bool) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(title=table.title if first else None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    wraps = _prose(table) if table.lead else [_widest(table)]
    for n in block:
        align = "right" if table.numeric[n] else "left"
        head = Text(f"{table.heads[n]}{_mark(table, -1, n)}")
        drawn.add_column(head, justify=align, no_wrap=n not in wraps, overflow="fold")  # type: ignore[arg-type]
    for m, row in enumerate(table.rows):
        if m in table.groups:
            if m:
                drawn.add_section()
            drawn.add_row(f"{GROUP}{m}")
        cells = [Text().append(row[n], STYLES.get(table.rank(m, n))).append(_mark(table, m, n)) for n in block]
        drawn.add_row(*cells)
    return drawn


def _mark(table: Table, row: int, column: int) -> str:
    letters = table.letters(row, column)
    return f" [{letters}]" if letters else ""
