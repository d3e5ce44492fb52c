"""Published accuracy and measured cost: which row of a published table belongs to which record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from upbench import registry
from upbench.accuracy import on_host
from upbench.errors import unknown
from upbench.papers import Published, Row, settings
from upbench.records.record import Record
from upbench.report.plots.quantities import Point, Quantity

_COSTS = ("params", "flops", "latency", "latency_min", "latency_max")


@dataclass(frozen=True)
class Match:
    """The published row of a record.

    Args:
        row: The row.
        remark: Why the row is in doubt; empty where it is not.
    """

    row: Row
    remark: str


@dataclass(frozen=True)
class Accuracy:
    """The rows of one published table that were matched to records, all of one part of it.

    Args:
        table: The published table.
        host: The part of the table: host model, box or mask, section.
        other_hosts: The other parts of the table.
        matches: The row of each matched record, by the index of the record.
        missing: The labels of the records without a row, by the reason.
    """

    table: Published
    host: str
    other_hosts: tuple[str, ...]
    matches: Mapping[int, Match]
    missing: Mapping[str, list[str]]


def metrics(table: Published) -> list[str]:
    """Return the metrics of a table that say how good a model is."""
    return [name for name, metric in table.metrics.items() if name not in _COSTS and metric.better is not None]


def hosts(table: Published) -> list[str]:
    """Return the parts of a table that hold one row per upsampler: host model, box or mask, section."""
    return list(dict.fromkeys(_part(row) for row in table.rows))


def match(records: Sequence[Record], table: Published, host: str | None = None) -> Accuracy:
    """Match the rows of a table to records: the same upsampler with the same settings, as in tables.

    Args:
        records: The records.
        table: The published table.
        host: One of `hosts`; None for the first.

    Raises:
        UnknownName: The table has no such part.
    """
    known = hosts(table)
    if host is not None and host not in known:
        raise unknown(f"part (--host) of {table.id}", host, known)
    part = host or known[0]
    rows = [row for row in table.rows if _part(row) == part]
    matches: dict[int, Match] = {}
    missing: dict[str, list[str]] = {}
    for n, record in enumerate(records):
        matched = _match_row(record, rows)
        if isinstance(matched, Match):
            matches[n] = matched
        else:
            named = missing.setdefault(matched, [])
            if record.label not in named:
                named.append(record.label)
    return Accuracy(table, part, tuple(k for k in known if k != part), matches, missing)


def quantity(name: str, accuracy: Accuracy, records: Sequence[Record]) -> Quantity:
    """Return a published metric as a quantity of the records that it was matched to.

    Args:
        name: The name of the metric.
        accuracy: The rows that were matched.
        records: The records that they were matched to, in the same order.
    """
    metric = accuracy.table.metrics[name]
    indices = {id(record): n for n, record in enumerate(records)}

    def read(record: Record) -> Point | None:
        matched = accuracy.matches.get(indices.get(id(record), -1))
        value = matched.row.values.get(name) if matched else None
        return None if value is None else Point(value, value, value)

    unit = " %" if metric.unit == "percent" else ""
    return Quantity(name, f"{name}, published", read, ((1, unit.strip()),), metric.better == "higher", zero=False)


def _part(row: Row) -> str:
    return "/".join(part for part in (row.section, row.host, row.subtask) if part) or "all rows"


def _match_row(record: Record, rows: Sequence[Row]) -> Match | str:
    """The row for a record, or why there is none."""
    named = [row for row in rows if row.upsampler == record.settings.upsampler]
    if not named:
        return "Not in the table"
    same = [row for row in named if on_host.matches(row, record)]
    if len(same) > 1 and len({tuple(row.values.items()) for row in same}) > 1:
        return f"{len(same)} rows with different values fit"
    if same:
        replaced = same[0].settings.get("replaced")
        return Match(
            same[0], same[0].why or (f"upsampler in {replaced}, the others' place differs" if replaced else "")
        )
    if record.settings.scale != on_host.SCALE:
        return f"Measured at x{record.settings.scale or 0:g}, published at x{on_host.SCALE}"
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
