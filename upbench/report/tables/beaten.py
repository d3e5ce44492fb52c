"""Which rows of a table dominate which others, and how that is written down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from upbench.analysis import dominance, effects
from upbench.records.record import Record
from upbench.report.tables import effect_cells
from upbench.report.tables.columns import Column
from upbench.report.tables.grouping import cell_name
from upbench.report.tables.result_set import ResultSet

NAMED = 20
"""The most rows that are named as those that dominate one."""


class Beaten(NamedTuple):
    """The rows that dominate a row: the first of them, and how many there are."""

    first: list[int]
    many: int


def names(beaten: Beaten, rows: Sequence[Record]) -> list[str]:
    """Return the names of the rows that dominate one; where they are many, the first and how many more."""
    more = beaten.many - len(beaten.first)
    return [*(cell_name(rows[a]) for a in beaten.first), *([f"and {more} others"] if more else [])]


def of_rows(results: ResultSet, metrics: Sequence[Column]) -> dict[int, Beaten]:
    """Return for each row those that dominate it; a row without a value of every metric is not there."""
    candidates = {
        n: c for n, r in enumerate(results.rows) if (c := effect_cells.candidate(r, metrics, results)) is not None
    }
    better = {m.key: m.better or "lower" for m in metrics}
    timed = [m.key for m in metrics if m.timed]
    able = list(candidates)
    beaten: Iterable[list[int]]
    if any(results.rows[n] in results.passes for n in able):
        rows = [results.rows[n] for n in able]
        beaten = dominance.dominators(
            [one.counted for one in candidates.values()],
            {name: lambda these, b: results.verdicts([rows[a] for a in these], rows[b]) for name in timed},
            better,
            [one.peers for one in candidates.values()],
        )
    else:
        beaten = effects.dominated_by(list(candidates.values()), better, results.noise_floor)
    return {
        n: Beaten([able[a] for a in dominators[:NAMED]], len(dominators))
        for n, dominators in zip(able, beaten, strict=True)
    }


def brief(names: Sequence[str], many: int) -> str:
    """Return what a cell of a table says of the rows that dominate one, by their names and how many they are."""
    return "; ".join(names) if many <= 2 else f"{names[0]} and {many - 1} others"
