"""Records as `upbench.analysis.effects` sees them: cells of a grid with the values of metrics."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from upbench import metrics
from upbench.analysis import effects
from upbench.analysis.effects import Candidate
from upbench.errors import UpbenchError, unknown
from upbench.records.record import Record
from upbench.report.tables import columns
from upbench.report.tables.columns import Column
from upbench.report.tables.published import PublishedColumns
from upbench.report.tables.result_set import ResultSet

DEFAULT = ("params", "macs", "latency", "peak-memory")
"""The metrics that are compared unless others are named; published accuracy is added to them."""


def value(column: Column, record: Record) -> float | None:
    """Return the value of a metric in a cell; None where the cell failed.

    A published value belongs to the settings of a cell, so that a cell that failed has it as well.
    """
    if record.status != "ok" and column.measured:
        return None
    raw: float | None = column.raw(record)
    return raw


def samples(column: Column, record: Record) -> Sequence[float] | None:
    """Return the samples behind the value of a cell; None for what is not sampled."""
    if column.metric is None or column.metric.samples is None or record.status != "ok":
        return None
    return column.metric.samples(record)


@dataclass(frozen=True)
class Readings:
    """What all cells say of a metric.

    Args:
        metric: The metric.
        in_passes: Whether it was timed in passes.
        values: The number of each cell, or the samples of what was timed without passes; None where there is nothing.
    """

    metric: Column
    in_passes: bool
    values: list[Any]


def read(records: Sequence[Record], metrics: Sequence[Column], in_passes: bool) -> list[Readings]:
    """Return what cells say of each metric. All is read of a record before the next, which takes its place in memory.

    Args:
        records: The records of the cells.
        metrics: The metrics.
        in_passes: Whether all cells were timed in passes.
    """
    found = [Readings(metric, metric.timed and in_passes, []) for metric in metrics]
    for record in records:
        for one in found:
            sampled = one.metric.timed and not in_passes
            one.values.append(samples(one.metric, record) if sampled else value(one.metric, record))
    return found


def metric_columns(names: str | None, results: ResultSet) -> list[Column]:
    """Return the columns of the metrics named in a text as 'latency,peak-memory,AP'.

    Args:
        names: The metrics, separated by commas. None stands for those of DEFAULT, for the first accuracy of a published
            table for each of its subtasks, and for all accuracy that is given.
        results: The cells.

    Raises:
        UnknownName: A name is not known; the error lists all that are.
    """
    published = results.published
    counted = metrics.with_evidence(results.metrics)
    if names is None:
        leading = [c for b in published for c in _leading(b)]
        return [*(columns.of(counted[name]) for name in DEFAULT), *leading, *results.accuracies]
    printed = {c.title: c for b in published for c in b.columns}
    printed |= {f"published:{title}": column for title, column in printed.items()}
    printed = {title: column for title, column in printed.items() if title not in counted}
    listed = {**counted, **dict.fromkeys(printed)}
    chosen_columns = []
    for name in filter(None, map(str.strip, names.split(","))):
        if name in printed:
            chosen_columns.append(printed[name])
        else:
            chosen_columns.append(columns.of(metrics.find(name, counted, "metric", listed)))
    if not chosen_columns:
        raise unknown("metric", names, listed)
    return list({column.key: column for column in chosen_columns}.values())


def _leading(table: PublishedColumns) -> list[Column]:
    """The first metric of a table, for each of its subtasks: what papers compare by."""
    accuracies = [c for c in table.columns if c.better == "higher"]
    if not accuracies:
        return []
    name = accuracies[0].title.split(" ")[0]
    return [c for c in accuracies if c.title.split(" ")[0] == name]


def grid(results: ResultSet, records: Sequence[Record]) -> list[dict[str, Hashable]]:
    """Return where each record is in the grid: the values of its axes, and what else separates equal ones.

    Args:
        results: The set, which knows its axes.
        records: The records.
    """
    axes = results.axes
    return [
        {
            **{name: hashable(r.axes[name]) for name in axes if r.axes.get(name) is not None},
            **{c.key: hashable(c.raw(r)) for c in results.context},
        }
        for r in records
    ]


def hashable(value: object) -> Hashable:
    """Return a value that can be a key: the value itself, or else its text."""
    return value if isinstance(value, Hashable) else repr(value)


def references(text: str | None, cells: Sequence[dict[str, Hashable]], measured: Sequence[bool]) -> dict[str, Hashable]:
    """Return the reference level of each axis that has several levels.

    Args:
        text: Levels as AXIS=VALUE,...; for the other axes `effects.reference_level` chooses.
        cells: The cells of the grid.
        measured: Whether each cell has values; the levels are chosen among those that have, where there are any.

    Raises:
        UnknownName: The text names an axis or a value that is not there.
        UpbenchError: A part of the text is not AXIS=VALUE.
    """
    names = dict.fromkeys(name for cell in cells for name in cell)
    levels = {name: list(dict.fromkeys(c[name] for c in cells if name in c)) for name in names}
    several = [name for name in names if len(levels[name]) > 1]
    able = [cell for cell, has in zip(cells, measured, strict=True) if has]
    levels_by_axis = {
        name: effects.reference_level(able if any(name in cell for cell in able) else cells, name) for name in several
    }
    for part in (text or "").split(",") if text else []:
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise UpbenchError(f"--base {part!r} is not AXIS=VALUE; write --base {(several or ['theta'])[0]}=...")
        if name not in several:
            raise unknown("axis with several values", name, several)
        shown = {str(level): level for level in levels[name]}
        typed = value if value in shown else str(yaml.safe_load(value))
        if typed not in shown:
            raise unknown(f"value of {name}", value, shown)
        levels_by_axis[name] = shown[typed]
    return levels_by_axis


def within(
    wanted: Mapping[str, Hashable], cells: Sequence[dict[str, Hashable]], measured: Sequence[bool]
) -> dict[str, Hashable]:
    """Return the reference levels of some of the cells.

    Args:
        wanted: The levels of all cells, which are kept where these cells have them.
        cells: The cells of one group.
        measured: Whether each of them has values.
    """
    levels = references(None, cells, measured)
    there = {(name, level) for cell in cells for name, level in cell.items()}
    return {name: wanted[name] if (name, wanted.get(name)) in there else level for name, level in levels.items()}


def candidate(record: Record, metrics: Sequence[Column], results: ResultSet) -> Candidate | None:
    """Return a record as a candidate for the Pareto front.

    Args:
        record: The record.
        metrics: The metrics of the front.
        results: The set that the record is of; says which records may be set against each other.

    Returns:
        The candidate; None where it has no value of one of the metrics.
    """
    if record.status != "ok" or any(value(column, record) is None for column in metrics):
        return None
    counted = {c.key: v for c in metrics if not c.timed and (v := value(c, record)) is not None}
    timed = {c.key: s for c in metrics if c.timed and (s := samples(c, record)) is not None}
    return Candidate(counted, timed, results.peers(record))
