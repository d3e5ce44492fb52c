"""A table as CSV."""

from __future__ import annotations

from upbench.report.formats.table import Table


def csv(table: Table) -> str:
    """Return the raw values of a table as CSV, in SI base units: one row for each record, empty where unknown."""
    import pandas

    frame = pandas.DataFrame(table.raw_rows, columns=table.raw_heads, dtype=object)
    return frame.to_csv(index=False, lineterminator="\n")
