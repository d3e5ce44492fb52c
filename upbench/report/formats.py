"""A table as text: for the terminal, Markdown, CSV."""

from __future__ import annotations

from upbench.report.sheet import Table


def terminal(table: Table, width: int | None = None) -> str:
    """A table drawn for a terminal: long text wraps, nothing is cut off.

    width: columns of the terminal; None asks it, and takes what the table needs where there is none.
    """
    import io
    import sys

    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    drawn = RichTable(title=table.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    widest = max(range(len(table.heads)), key=lambda n: max([len(row[n]) for row in table.rows] or [0]))
    for n, (head, numeric) in enumerate(zip(table.heads, table.numeric, strict=True)):
        drawn.add_column(head, justify="right" if numeric else "left", no_wrap=n != widest, overflow="fold")
    for row in table.rows:
        drawn.add_row(*row)
    needed = Console(width=10_000).measure(drawn).maximum
    if width is None:
        width = Console().width if sys.stdout.isatty() else max(100, needed)
    shortest = needed - max([len(row[widest]) for row in table.rows] or [0]) + 20
    console = Console(file=io.StringIO(), width=max(width, min(needed, shortest)), highlight=False, markup=False)
    console.print(drawn)
    for note in table.notes:
        console.print(note)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def markdown(table: Table) -> str:
    """GitHub-flavoured Markdown: title, table, notes."""
    from tabulate import tabulate

    align = ["right" if numeric else "left" for numeric in table.numeric]
    body = tabulate(table.rows, table.heads, tablefmt="github", colalign=align, disable_numparse=True)
    notes = "\n".join(f"- {note}" for note in table.notes)
    return f"**{table.title}**\n\n{body}\n\n{notes}\n"


def csv(table: Table) -> str:
    """Raw values in SI base units, one row a record; empty where unknown."""
    import pandas

    frame = pandas.DataFrame(table.raw_rows, columns=table.raw_heads, dtype=object)
    return frame.to_csv(index=False, lineterminator="\n")
