"""Effects on accuracy: their interval over the runs that a user gives, and how both are written."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from upbench.analysis import effects
from upbench.analysis.effects import Effect
from upbench.analysis.runs import Runs, half_width
from upbench.records.record import Record
from upbench.report.tables import origins
from upbench.report.tables.columns import Column

BY_PRINT = "Published values were printed once, without an interval; shown is their mean difference."
"""How effects on published accuracy are computed."""
BY_RUNS = (
    "Accuracy: mean difference; in brackets its 95 % interval over runs (Welch's t), where every cell of the pairs has a "
    "standard deviation and a number of runs."
)
"""How effects on accuracy that is given are computed."""


def with_intervals(
    found: Sequence[Effect], metric: Column, records: Sequence[Record], cells: Sequence[Mapping[str, Hashable]]
) -> list[Effect]:
    """Return effects on an accuracy with the intervals of their differences, where all cells of the pairs have runs.

    Args:
        found: The effects of one axis.
        metric: The accuracy.
        records: The records.
        cells: Where each of them is in the grid.
    """
    spread = [_runs(metric, record) for record in records]
    if not any(spread):
        return list(found)
    return [_with_interval(effect, cells, metric, records, spread) for effect in found]


def _with_interval(
    effect: Effect,
    cells: Sequence[Mapping[str, Hashable]],
    metric: Column,
    records: Sequence[Record],
    spread: Sequence[Runs | None],
) -> Effect:
    known = [origins.of(metric, record) is not None for record in records]
    pairs = effects.pairs_of(cells, effect.axis, effect.reference, known).get(effect.level, [])
    both = [(one, other) for a, b in pairs if (one := spread[a]) is not None and (other := spread[b]) is not None]
    if not both or len(both) < len(pairs):
        return effect
    half = half_width(both)
    return replace(effect, difference_low=effect.difference - half, difference_high=effect.difference + half)


def _runs(metric: Column, record: Record) -> Runs | None:
    one = origins.of(metric, record)
    if one is None or one.sd is None or one.runs is None or one.runs < 2:
        return None
    return Runs(one.sd, one.runs)


def text(effect: Effect, delta: Callable[[Any], str]) -> str:
    """Return an effect as a difference: '+0.3', with its interval where there is one: '+0.3 (+0.1 to +0.5)'.

    Args:
        effect: The effect.
        delta: Writes a difference of two values of the metric.
    """
    if effect.difference_low is None or effect.difference_high is None:
        return delta(effect.difference)
    return f"{delta(effect.difference)} ({delta(effect.difference_low)} to {delta(effect.difference_high)})"
