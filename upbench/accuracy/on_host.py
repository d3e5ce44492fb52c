"""What papers printed of upsamplers in one host model, over all their tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from upbench import cards, papers
from upbench.errors import unknown
from upbench.papers import Published, Row, settings
from upbench.records.accuracy import Accuracy
from upbench.records.record import Record

SCALE = 2
"""The factor by which the published models upsample."""
COSTS = ("params", "flops", "latency", "latency_min", "latency_max")
"""Metrics of published tables that are no accuracy."""
ABLATIONS = ("ablation", "settings")
"""Tasks of tables that compare the settings of upsamplers, not upsamplers."""


@dataclass(frozen=True)
class Printed:
    """A row of a published table that is of some host, and the metrics that are."""

    table: Published
    row: Row
    metrics: tuple[str, ...]


def known(host: str) -> str:
    """Return the name of a host that published accuracy is of. Raises UnknownName, which lists all."""
    if host not in _rows():
        raise unknown("host with published accuracy", host, sorted(_rows()))
    return host


@cache
def _rows() -> Mapping[str, tuple[Printed, ...]]:
    """Host -> its rows, those of the tables that compare the most upsamplers first."""
    found: dict[str, list[Printed]] = {}
    for name in papers.names():
        table = papers.table(name)
        for row in table.rows:
            for host, metrics in _hosts(table, row):
                found.setdefault(host, []).append(Printed(table, row, metrics))
    return {host: tuple(sorted(rows, key=lambda p: -_size(p, rows))) for host, rows in found.items()}


def _size(printed: Printed, rows: Sequence[Printed]) -> int:
    """How many upsamplers the table of a row compares on this host."""
    if printed.table.task in ABLATIONS:
        return 0
    return len({other.row.upsampler for other in rows if other.table.id == printed.table.id})


def _hosts(table: Published, row: Row) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The hosts that a row has accuracy of, each with its metrics."""
    by_host: dict[str, list[str]] = {}
    for name in row.values:
        metric = table.metrics[name]
        host = metric.host or row.host
        if name not in COSTS and metric.better is not None and host is not None:
            by_host.setdefault(host, []).append(name)
    yield from ((host, tuple(names)) for host, names in by_host.items())


def accuracies(records: Sequence[Record], host: str) -> dict[int, dict[str, Accuracy]]:
    """Return what papers printed of each record's upsampler with its settings in a host.

    Args:
        records: The records.
        host: The name of the host.

    Returns:
        Index of the record -> metric -> accuracy. A metric of boxes and masks is named with that, as "AP segm".
    """
    found: dict[int, dict[str, Accuracy]] = {}
    for n, record in enumerate(records):
        for printed in _rows().get(host, ()):
            if matches(printed.row, record):
                for name, one in _of_row(printed).items():
                    found.setdefault(n, {}).setdefault(name, one)
    return found


def _of_row(printed: Printed) -> dict[str, Accuracy]:
    table, row = printed.table, printed.row
    return {" ".join([name, *([row.subtask] if row.subtask else [])]): of(table, row, name) for name in printed.metrics}


def of(table: Published, row: Row, name: str) -> Accuracy:
    """Return a metric of a published row as an accuracy."""
    metric = table.metrics[name]
    replaced = row.settings.get("replaced")
    doubt = row.why or (f"upsampler in {replaced}, the others' place differs" if replaced else None)
    return Accuracy(
        value=row.values[name],
        unit="percent" if metric.unit in ("percent", "%") else metric.unit.split(" (")[0],
        better=metric.better or "higher",
        decimals=metric.decimals,
        origin="published",
        source=f"{table.paper} {table.source.table}",
        doubt=doubt,
    )


def matches(row: Row, record: Record) -> bool:
    """Return whether a published row has the upsampler and all the settings of a record; what it does not print is default."""
    spec = record.settings
    if row.upsampler != spec.upsampler or spec.scale != SCALE:
        return False
    card = cards.builtin().get(row.upsampler)
    if card is None:  # a user's own class: its settings are its params
        return all(spec.params.get(name) == value for name, value in row.settings.items())
    wanted = settings.translated(row.settings, card)
    return wanted is not None and all(spec.params.get(k) == v for k, v in {**card.defaults(), **wanted}.items())


def upsamplers(host: str) -> list[dict[str, Any]]:
    """Return a spec for every upsampler that papers compare in a host, as {upsampler, params}.

    Of two rows of one upsampler with the same values, of which one prints settings, only that one counts.
    """
    rows = [p for p in _rows().get(host, ()) if _size(p, _rows()[host]) >= 2]
    printed: dict[str, dict[str, tuple[dict[str, Any], dict[str, float]]]] = {}
    for one in rows:
        card = cards.builtin().get(one.row.upsampler)
        wanted = settings.translated(one.row.settings, card) if card is not None else None
        if card is None or wanted is None:
            continue
        changed = {name: value for name, value in wanted.items() if card.defaults().get(name) != value}
        printed.setdefault(card.name, {}).setdefault(repr(sorted(changed.items())), (changed, one.row.values))
    found = []
    for name, by_settings in printed.items():
        for params, values in by_settings.values():
            copied = not params and any(other and _agree(values, more) for other, more in by_settings.values())
            if not copied:
                found.append({"upsampler": name, "params": params})
    return found


def _agree(values: Mapping[str, float], others: Mapping[str, float]) -> bool:
    common = (values.keys() & others.keys()) - set(COSTS)
    return bool(common) and all(values[name] == others[name] for name in common)
