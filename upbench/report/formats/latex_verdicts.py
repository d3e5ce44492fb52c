"""Ratios with their verdicts as a paper has them: a number says faster or slower by itself, a sign says what is not told apart."""

from __future__ import annotations

import re
from dataclasses import replace

from upbench.report.formats.table import Table

SIGNS = {"FASTER": "", "SLOWER": "", "SAME": "=", "UNSURE": "?"}
"""What stands behind a ratio for each `stats.Verdict`, whose module is too slow to import for help."""
MEANINGS = {"SAME": "=: the same within 5 %", "UNSURE": "?: not told from 1"}
"""What the signs mean."""
_RATIO = re.compile(rf"(\S+x) ({'|'.join(SIGNS)})")
_REFERENCE = re.compile(r"1 \(reference\)")


def with_signs(table: Table) -> tuple[Table, str]:
    """Return a table with signs in place of the words behind its ratios, and what ratios and signs mean.

    Args:
        table: The table.

    Returns:
        The table, and what its ratios and their signs are as one text; empty where it has no ratio.
    """
    seen: set[str] = set()

    def short(text: str) -> str:
        if _REFERENCE.fullmatch(text):
            return "1"
        if not (found := _RATIO.fullmatch(text)):
            return text
        seen.add(found[2])
        return f"{found[1]}{SIGNS[found[2]]}"

    rows = [[short(text) for text in row] for row in table.rows]
    reference = any(_REFERENCE.fullmatch(text) for row in table.rows for text in row)
    what = "Ratios: of latencies, to that of the row with 1" if reference else "Ratios: of latencies"
    meanings = [text for said, text in MEANINGS.items() if said in seen]
    return replace(table, rows=rows), "; ".join([what, *meanings]) if seen else ""
