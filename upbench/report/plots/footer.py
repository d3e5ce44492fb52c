"""The small print of a picture: what failed, where and how it was measured, what was counted, what is published."""

from __future__ import annotations

from collections.abc import Sequence

from upbench import conventions
from upbench.report.plots.quantities import Quantity
from upbench.report.tables import notes
from upbench.report.tables.result_set import ResultSet

_COUNTED = ("params", "macs")
_USUAL = ("contiguous", "offsets init", "compile off", "backend auto")
"""Conditions that are the default, which the small print leaves out."""
_FLOP = "One multiply-accumulate counts as one FLOP."


def lines(
    results: ResultSet,
    drawn: Sequence[Quantity],
    left_out: Sequence[str] = (),
    accuracy: Sequence[str] = (),
) -> list[str]:
    """Return the small print of a picture, the most important first.

    Args:
        results: All cells, those that failed among them.
        drawn: The quantities that the picture shows.
        left_out: Sentences on what could not be drawn.
        accuracy: Sentences on the accuracy that it shows.
    """
    names = {quantity.name for quantity in drawn}
    failed, good = results.failed, results.measured.records
    under = list(results.too_busy) if "latency" in names else []
    under += [f"Failed, not drawn: {notes.name_some(failed, 0)}."] if failed else []
    under += [*left_out, *accuracy]
    if "latency" in names:
        under.append("Latency: median, 95 % interval.")
    shared = ", ".join(part for part in notes.condition(good).split(", ") if part not in _USUAL)
    under += [*([f"All cells: {shared}."] if shared else []), *notes.machine(good)]
    if names & {*_COUNTED}:
        under.append(conventions.describe(results.convention) if results.convention != conventions.DEFAULT else _FLOP)
    return under
