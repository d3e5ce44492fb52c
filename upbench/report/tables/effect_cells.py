"""Records as `upbench.effects` sees them: places in a grid with metrics."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import yaml

from upbench import effects, metrics
from upbench.effects import Candidate
from upbench.errors import UpbenchError, unknown
from upbench.record import Record
from upbench.report.tables import columns
from upbench.report.tables.columns import Column
from upbench.report.tables.published import PublishedColumns
from upbench.report.tables.result_set import ResultSet

DEFAULT = ("params", "macs", "latency", "peak-memory")
"""The metrics that are compared unless others are asked for; published accuracy joins them."""


def value(column: Column, record: Record) -> float | None:
    """A cell's value of a metric; a published one belongs to the settings, and so to a cell that failed as well."""
    if record.status != "ok" and column.measured:
        return None
    found: float | None = column.raw(record)
    return found


def samples(column: Column, record: Record) -> list[float] | None:
    """The samples behind a measured cell's value."""
    if column.metric is None or column.metric.samples is None or record.status != "ok":
        return None
    found = column.metric.samples(record)
    return None if found is None else list(found)


def chosen(names: str | None, results: ResultSet) -> list[Column]:
    """The metrics in 'latency,peak-memory,AP', or those of DEFAULT and published accuracy.

    Of a published table the default is the first column, for each subtask. Raises UnknownName with all that there are.
    """
    published = results.published
    counted = metrics.with_evidence(metrics.under(results.convention))
    if names is None:
        return [*(columns.of(counted[name]) for name in DEFAULT), *(c for b in published for c in _leading(b))]
    printed = {c.title: c for b in published for c in b.columns}
    listed = {**counted, **dict.fromkeys(printed)}
    found = []
    for name in filter(None, map(str.strip, names.split(","))):
        if name in printed:
            found.append(printed[name])
        else:
            found.append(columns.of(metrics.find(name, counted, "metric", listed)))
    if not found:
        raise unknown("metric", names, listed)
    return list({column.key: column for column in found}.values())


def _leading(table: PublishedColumns) -> list[Column]:
    """The first metric of a table, for each of its subtasks: what papers compare by."""
    accuracies = [c for c in table.columns if c.better == "higher"]
    if not accuracies:
        return []
    name = accuracies[0].title.split(" ")[0]
    return [c for c in accuracies if c.title.split(" ")[0] == name]


def grid(results: ResultSet, records: Sequence[Record]) -> list[dict[str, Hashable]]:
    """The cell of each record: the values of its axes, and of whatever else records with equal axes differ in."""
    axes = results.axes
    return [
        {
            **{name: hashable(r.axes[name]) for name in axes if r.axes.get(name) is not None},
            **{c.key: hashable(c.raw(r)) for c in results.context},
        }
        for r in records
    ]


def hashable(value: object) -> Hashable:
    return value if isinstance(value, Hashable) else repr(value)


def references(text: str | None, cells: Sequence[dict[str, Hashable]], measured: Sequence[bool]) -> dict[str, Hashable]:
    """The reference level of each axis with several levels: as asked for with AXIS=VALUE,..., else as `effects` chooses.

    measured: for each cell whether it has values; the choice is made among those where there are any. Raises
    UnknownName for an axis or a value that is not there.
    """
    names = dict.fromkeys(name for cell in cells for name in cell)
    levels = {name: list(dict.fromkeys(c[name] for c in cells if name in c)) for name in names}
    several = [name for name in names if len(levels[name]) > 1]
    able = [cell for cell, has in zip(cells, measured, strict=True) if has]
    found = {
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
        found[name] = shown[typed]
    return found


def within(
    asked: Mapping[str, Hashable], cells: Sequence[dict[str, Hashable]], measured: Sequence[bool]
) -> dict[str, Hashable]:
    """The reference levels of some of the cells: as asked for where these have that level."""
    found = references(None, cells, measured)
    there = {(name, level) for cell in cells for name, level in cell.items()}
    return {name: asked[name] if (name, asked.get(name)) in there else level for name, level in found.items()}


def candidate(record: Record, metrics: Sequence[Column], results: ResultSet) -> Candidate | None:
    """A record for the front; None when it has no value for one of the metrics."""
    if record.status != "ok" or any(value(column, record) is None for column in metrics):
        return None
    counted = {c.key: v for c in metrics if not c.timed and (v := value(c, record)) is not None}
    timed = {c.key: s for c in metrics if c.timed and (s := samples(c, record)) is not None}
    return Candidate(counted, timed, results.peers(record))
