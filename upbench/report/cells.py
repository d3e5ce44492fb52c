"""Records as `upbench.effects` sees them: places in a grid with metrics."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import yaml

from upbench import conventions, effects
from upbench.effects import Candidate
from upbench.errors import UpbenchError, unknown
from upbench.record import Record
from upbench.report import beside, chosen, columns, place
from upbench.report.beside import Beside
from upbench.report.columns import Column

COUNTED = ("params", "flops", "peak")
MEASURED = (*COUNTED, "latency", "training-peak", "saved", "workspace", "conv", "gather", "trainable")


@dataclass(frozen=True)
class Metric:
    """A column that cells are compared by. timed: it has samples. published: a printed value, not a measured one."""

    column: Column
    timed: bool
    published: bool

    def value(self, record: Record) -> float | None:
        if record.status != "ok" and not self.published:
            return None
        found: float | None = self.column.raw(record)
        return found


def metrics(names: str | None, records: Sequence[Record], convention: str = conventions.DEFAULT) -> list[Metric]:
    """The metrics in 'latency,peak,AP', or by default params, FLOPs, latency, peak memory and published accuracy.

    Of a published table the default is the first column, for each subtask. Raises UnknownName with all that there are.
    """
    published = beside.find(records)
    printed = [c for b in published for c in b.columns]
    if names is None:
        first = [c for b in published for c in _leading(b)]
        return [
            *(_measured(name, convention) for name in ("params", "flops", "latency", "peak")),
            *map(_printed, first),
        ]
    known = [*MEASURED, *(c.title for c in printed)]
    found = []
    for name in dict.fromkeys(n.strip() for n in names.split(",") if n.strip()):
        if name not in known:
            raise unknown("metric", name, known)
        found.append(
            _measured(name, convention) if name in MEASURED else _printed(next(c for c in printed if c.title == name))
        )
    if not found:
        raise unknown("metric", names, known)
    return found


def _measured(name: str, convention: str) -> Metric:
    column = chosen.named(convention)[name]
    return Metric(column, timed=column is columns.MEDIAN, published=False)


def _printed(column: Column) -> Metric:
    return Metric(column, timed=False, published=True)


def _leading(table: Beside) -> list[Column]:
    """The first metric of a table, for each of its subtasks: what papers compare by."""
    accuracies = [c for c in table.columns if c.better == "higher"]
    if not accuracies:
        return []
    name = accuracies[0].title.split(" ")[0]
    return [c for c in accuracies if c.title.split(" ")[0] == name]


def samples(record: Record) -> list[float] | None:
    """The latency samples of a measured cell."""
    return list(record.latency.samples_s) if record.latency and record.status == "ok" else None


def grid(records: Sequence[Record], axes: Sequence[str]) -> list[dict[str, Hashable]]:
    """The place of each record: the values of its axes, and of whatever else records with equal axes differ in."""
    context = [c for c in place.context(records, axes) if not (c.key == "label" and axes)]
    return [
        {
            **{name: hashable(r.axes[name]) for name in axes if r.axes.get(name) is not None},
            **{c.key: hashable(c.raw(r)) for c in context},
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


def candidate(record: Record, asked: Sequence[Metric], axes: Sequence[str]) -> Candidate | None:
    """A record for the front; None when it has no value for one of the metrics."""
    if record.status != "ok" or any(m.value(record) is None for m in asked):
        return None
    counted = {m.column.key: v for m in asked if not m.timed and (v := m.value(record)) is not None}
    timed = {m.column.key: s for m in asked if m.timed and (s := samples(record)) is not None}
    return Candidate(counted, timed, (place.machine(record, axes), place.work(record)))
