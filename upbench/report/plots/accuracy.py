"""Published accuracy beside measured cost: which row of a published table belongs to which record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from upbench import registry
from upbench.errors import unknown
from upbench.papers import Published, Row, settings
from upbench.record import Record
from upbench.report.plots.quantities import Point, Quantity
from upbench.report.tables import published

_COSTS = ("params", "flops", "latency", "latency_min", "latency_max")


@dataclass(frozen=True)
class Match:
    """A record's row. remark: why the row is in doubt, empty where it is not."""

    row: Row
    remark: str


@dataclass(frozen=True)
class Accuracy:
    """The rows of one table and one host that were matched. matches: by the place of the record.

    missing: the labels of records without a row, by the reason. other_hosts: further parts of the table.
    """

    table: Published
    host: str
    other_hosts: tuple[str, ...]
    matches: Mapping[int, Match]
    missing: Mapping[str, list[str]]


def metrics(table: Published) -> list[str]:
    """The columns of a table that say how good a model is."""
    return [name for name, metric in table.metrics.items() if name not in _COSTS and metric.better is not None]


def hosts(table: Published) -> list[str]:
    """The parts of a table that hold one row per upsampler: host model, box or mask, section."""
    return list(dict.fromkeys(_part(row) for row in table.rows))


def match(records: Sequence[Record], table: Published, host: str | None = None) -> Accuracy:
    """Lay the rows of a table beside records: the same upsampler with the same settings, as in tables.

    host: one of `hosts`; default: the first. Raises UnknownName for another.
    """
    known = hosts(table)
    if host is not None and host not in known:
        raise unknown(f"part (--host) of {table.id}", host, known)
    chosen = host or known[0]
    rows = [row for row in table.rows if _part(row) == chosen]
    matches: dict[int, Match] = {}
    missing: dict[str, list[str]] = {}
    for n, record in enumerate(records):
        found = _one(record, rows)
        if isinstance(found, Match):
            matches[n] = found
        else:
            named = missing.setdefault(found, [])
            if record.label not in named:
                named.append(record.label)
    return Accuracy(table, chosen, tuple(k for k in known if k != chosen), matches, missing)


def quantity(name: str, accuracy: Accuracy, records: Sequence[Record]) -> Quantity:
    """A published metric as a quantity of the records that it was matched to."""
    metric = accuracy.table.metrics[name]
    places = {id(record): n for n, record in enumerate(records)}

    def read(record: Record) -> Point | None:
        found = accuracy.matches.get(places.get(id(record), -1))
        value = found.row.values.get(name) if found else None
        return None if value is None else Point(value, value, value)

    unit = " %" if metric.unit == "percent" else ""
    return Quantity(name, f"{name}, published", read, ((1, unit.strip()),), metric.better == "higher", zero=False)


def _part(row: Row) -> str:
    return "/".join(part for part in (row.section, row.host, row.subtask) if part) or "all rows"


def _one(record: Record, rows: Sequence[Row]) -> Match | str:
    """The row for a record, or why there is none."""
    named = [row for row in rows if row.upsampler == record.settings.upsampler]
    if not named:
        return "Not in the table"
    same = [row for row in named if published.matches(row, record)]
    if len(same) > 1 and len({tuple(row.values.items()) for row in same}) > 1:
        return f"{len(same)} rows with different values fit"
    if same:
        replaced = same[0].settings.get("replaced")
        return Match(
            same[0], same[0].why or (f"upsampler in {replaced}, the others' place differs" if replaced else "")
        )
    if record.settings.scale != published.SCALE:
        return f"Measured at x{record.settings.scale or 0:g}, published at x{published.SCALE}"
    return f"Published with other settings ({min((_why(record, row) for row in named), key=len)})"


def _why(record: Record, row: Row) -> str:
    """What differs between a record and a row of the same upsampler."""
    card = registry.get(row.upsampler)
    wanted = settings.translated(row.settings, card)
    if wanted is None:
        return ", ".join(f"{key}={_shown(value)}" for key, value in row.settings.items())
    expected, params = {**card.defaults(), **wanted}, record.settings.params
    return ", ".join(
        f"{name}={_shown(value)}, here {_shown(params.get(name))}"
        for name, value in expected.items()
        if params.get(name) != value
    )


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
