"""The findings of gates, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from upbench import units
from upbench.gate import Finding, Result
from upbench.gate.outcome import counts, word
from upbench.report.formats.table import Table

ORDER = (Result.failed, Result.unsure, Result.passed, Result.note)
"""The results in the order of the rows: those that need attention first."""


def table(findings: Sequence[Finding], strict: bool, title: str = "Gates") -> Table:
    """Return a table with a row for each gate on each upsampler, those that failed first.

    Args:
        findings: What the gates found.
        strict: Whether what is unsure counts as failed.
        title: The title of the table.
    """
    rows = sorted(findings, key=lambda f: ORDER.index(f.result))
    return Table(
        title=title,
        heads=["Result", "Upsampler", "Gate", "What was found"],
        rows=[[word(f, strict), f.upsampler, f.gate, f.sentence] for f in rows],
        numeric=[False] * 4,
        raw_heads=["result", "upsampler", "gate", "measured", "low", "high", "limit", "sentence"],
        raw_rows=[
            [str(f.result), f.upsampler, f.gate, f.measured, f.low, f.high, f.limit, f.sentence] for f in findings
        ],
        notes=[counts(findings, strict)] if findings else [units.DASH],
    )
