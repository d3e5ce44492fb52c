"""A table as CSV."""

from __future__ import annotations

from upbench.report.formats.table import Table

ROWS = 500
"""Rows that are written at a time, so that a long table is not in memory twice."""


def csv(table: Table) -> str:
    """Return the raw values of a table as CSV, in SI base units: one row for each record, empty where unknown."""
    import pandas

    def part(start: int) -> str:
        frame = pandas.DataFrame(table.raw_rows[start : start + ROWS], columns=table.raw_heads, dtype=object)
        return frame.to_csv(index=False, header=start == 0, lineterminator="\n")

    return "".join(map(part, range(0, max(1, len(table.raw_rows)), ROWS)))
