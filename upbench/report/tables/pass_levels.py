"""What the passes of sweeps say of their records: ratios, pairs and effects, each by differences in the same passes."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upbench.analysis import effects
from upbench.analysis.effects import Effect
from upbench.analysis.passes import Levels, PassRatio
from upbench.analysis.stats import Verdict
from upbench.records.record import Passes, Record
from upbench.report.tables import facts


def passes_of(record: Record) -> Passes | None:
    """Return the passes that a record's latency is from; None for one that was measured by itself."""
    return record.latency.passes if record.status == "ok" and record.latency else None


class PassLevels:
    """The levels of records, by the sweep and the reference that they were timed against. Keeps no samples."""

    def __init__(self, records: Iterable[Record]) -> None:
        members: dict[Hashable, list[tuple[int, _Row]]] = {}
        for record in records:
            if facts.in_passes(record) and (passes := passes_of(record)):
                key = (record.sweep.name if record.sweep else "", *passes.reference, passes.series)
                members.setdefault(key, []).append((id(record), _row(passes)))
        self._levels: list[Levels] = []
        self._where: dict[int, tuple[int, int]] = {}
        for n, rows in enumerate(members.values()):
            self._where |= {record: (n, row) for row, (record, _) in enumerate(rows)}
            self._levels.append(_levels([row for _, row in rows]))

    def __contains__(self, record: Record) -> bool:
        """Whether a record was timed in passes."""
        return id(record) in self._where

    def pair(self, record: Record, other: Record) -> PassRatio | None:
        """Return the latency of a record over another's; None where they were not timed against the same reference."""
        a, b = self._where.get(id(record)), self._where.get(id(other))
        return None if a is None or b is None or a[0] != b[0] else self._levels[a[0]].pair(a[1], b[1])

    def verdicts(self, records: Sequence[Record], other: Record, noise_floors: Sequence[float]) -> list[Verdict]:
        """Return what `pair` says of many records against another one; UNSURE where they have no reference in common.

        Args:
            records: The records, without `other` among them.
            other: The record that they are set against.
            noise_floors: For each what it and the other resolve, as a part of 1.
        """
        found = [Verdict.UNSURE] * len(records)
        at = self._where.get(id(other))
        where = [self._where.get(id(record)) for record in records]
        same = [n for n, one in enumerate(where) if at is not None and one is not None and one[0] == at[0]]
        if at is None or not same:
            return found
        rows = np.array([one[1] for n in same if (one := where[n])], dtype=np.int64)
        said = self._levels[at[0]].verdicts(rows, at[1], np.array([noise_floors[n] for n in same]))
        for n, verdict in zip(same, said, strict=True):
            found[n] = verdict
        return found

    def effect(self, pairs: Sequence[tuple[Record, Record]]) -> PassRatio | None:
        """Return the geometric mean over pairs of the first record's latency over the second's; None as for `pair`."""
        where = [(self._where.get(id(a)), self._where.get(id(b))) for a, b in pairs]
        groups = {at[0] if at else None for both in where for at in both}
        if len(groups) != 1 or None in groups:
            return None
        (group,) = groups
        return self._levels[group or 0].effect([(a[1], b[1]) for a, b in where if a and b])

    def applied(self, effect: Effect, members: Sequence[Record], grid: Sequence[dict[str, Any]]) -> Effect:
        """Return an effect as the passes have it, by differences in the same passes; itself where there are none.

        Args:
            effect: The effect as samples have it.
            members: The records of the cells.
            grid: The axes of each of them.
        """
        pairs = [
            (members[family[effect.level]], members[family[effect.reference]])
            for family in effects.partners(grid, effect.axis).values()
            if effect.level in family and effect.reference in family
        ]
        pairs = [(a, b) for a, b in pairs if _timed(a, self) and _timed(b, self)]
        if not any(record in self for pair in pairs for record in pair):
            return effect
        ratio = self.effect(pairs)
        if ratio is None:  # of different machines, or measured in different ways: a value, and nothing that is told
            return replace(effect, low=0.0, high=float("inf"))
        low, high = (0.0, float("inf")) if ratio.low is None or ratio.high is None else (ratio.low, ratio.high)
        singles = [single.value for pair in pairs if (single := self.pair(*pair))]
        return replace(effect, ratio=ratio.value, low=low, high=high, least=min(singles), most=max(singles))


def _timed(record: Record, levels: PassLevels) -> bool:
    return record in levels or (record.status == "ok" and facts.timing(record) is not None)


class _Row(NamedTuple):
    """The passes of a record as arrays. levels: None for the reference."""

    numbers: NDArray[np.int64]
    levels: NDArray[np.float64] | None
    blocks: NDArray[np.int64]


def _row(passes: Passes) -> _Row:
    levels = None if passes.levels is None else np.array(passes.levels)
    return _Row(np.array(passes.numbers, dtype=np.int64), levels, np.array(passes.blocks, dtype=np.int64))


def _levels(rows: Sequence[_Row]) -> Levels:
    width = 1 + max((int(row.numbers.max()) for row in rows if row.numbers.size), default=0)
    values = np.full((len(rows), width), np.nan)
    blocks = np.zeros(values.shape, dtype=np.int64)
    reference = None
    for n, row in enumerate(rows):
        if row.levels is None:
            reference = n
            continue
        values[n, row.numbers] = row.levels
        blocks[n, row.numbers] = row.blocks
    return Levels(values, blocks, reference)
