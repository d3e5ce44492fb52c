"""Tables as JSON."""

from __future__ import annotations

import json as _json
from collections.abc import Sequence
from typing import Any

from upbench.report.formats.table import Table


def data(table: Table) -> dict[str, Any]:
    """Return a table as JSON has it: raw rows in SI base units, and what stands around them.

    `emphasis` maps, for each row, the heads of the emphasised cells to "best" or "second".
    """
    return {
        "title": table.title,
        "rows": [dict(zip(table.raw_heads, row, strict=True)) for row in table.raw_rows],
        "emphasis": [
            {table.heads[n]: rank.name for n in range(len(table.heads)) if (rank := table.rank(m, n))}
            for m in range(len(table.rows))
        ],
        "footnotes": [
            {"row": m if m >= 0 else None, "column": table.heads[n], "text": table.footnotes[number]}
            for (m, n), numbers in table.refs.items()
            for number in numbers
        ],
        "notes": table.notes,
    }


def json(tables: Sequence[Table]) -> str:
    """Return tables as one JSON object."""
    return _json.dumps({"schema": 1, "tables": [data(table) for table in tables]}, indent=2) + "\n"
