"""The table of what the FLOPs counters of others would print for one module."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Protocol

from upbench import units
from upbench.report.formats.table import Table

NAMED = 3
"""Operators that a cell names of those that a counter leaves out; the rest is a number."""
NOTE = (
    "Predicted by the rules of each counter, on this module as it is built; none of them ran. Of all: what it prints, as "
    "multiply-accumulates, to all that upbench counts ({total}). Leaves out: operators that it counts as nothing, with "
    "their multiply-accumulates; where a layer is named by class, subclasses are left out too."
)


class Prediction(Protocol):
    """What the table reads of a prediction, see `measure.counters.Prediction`."""

    @property
    def counter(self) -> str:
        """Name of the counter."""

    @property
    def release(self) -> str:
        """Release whose rules these are."""

    @property
    def per_mac(self) -> int:
        """What it counts for one multiply-accumulate."""

    @property
    def words(self) -> str:
        """What it adds up."""

    @property
    def figure(self) -> int | None:
        """What it would print; None where it prints nothing."""

    @property
    def leaves_out(self) -> Mapping[str, int]:
        """Operators that it counts as nothing, most first, with their multiply-accumulates."""

    @property
    def why_not(self) -> str | None:
        """Why there is no figure."""


def table(predictions: Sequence[Prediction], total: int, title: str) -> Table:
    """Return the table: a row for each counter.

    Args:
        predictions: What each counter would print.
        total: Multiply-accumulates of the call as upbench counts them.
        title: What the module is.
    """
    rows = [
        [
            each.counter,
            units.count(each.figure),
            "MACs" if each.per_mac == 1 else f"{each.per_mac} x MACs",
            units.percent(each.figure / each.per_mac / total) if each.figure is not None and total else units.DASH,
            each.why_not or _left_out(each.leaves_out),
        ]
        for each in predictions
    ]
    return Table(
        title=title,
        heads=["Counter", "Prints", "In", "Of all", "Leaves out"],
        rows=rows,
        numeric=[False, True, False, True, False],
        raw_heads=["counter", "release", "figure", "per_mac", "leaves_out", "why_not"],
        raw_rows=[
            [p.counter, p.release, p.figure, p.per_mac, json.dumps(dict(p.leaves_out)), p.why_not] for p in predictions
        ],
        notes=[
            NOTE.format(total=units.count(total)),
            *(f"{each.counter} {each.release} counts {each.words}." for each in predictions),
        ],
        lead=1,
    )


def document(predictions: Sequence[Prediction], total: int) -> str:
    """Return the same as JSON: what upbench counts, and of each counter all that is known.

    Args:
        predictions: What each counter would print.
        total: Multiply-accumulates of the call as upbench counts them.
    """
    counters = [
        {
            "counter": each.counter,
            "release": each.release,
            "figure": each.figure,
            "per_mac": each.per_mac,
            "counts": each.words,
            "leaves_out": dict(each.leaves_out),
            "why_not": each.why_not,
        }
        for each in predictions
    ]
    return json.dumps({"macs": total, "counters": counters}, indent=2)


def _left_out(operators: Mapping[str, int]) -> str:
    named = [f"{name.removeprefix('aten::')} {units.count(macs)}" for name, macs in list(operators.items())[:NAMED]]
    more = len(operators) - len(named)
    return ", ".join(named + ([f"{more} more"] if more else [])) or "nothing"
