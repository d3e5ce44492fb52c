"""Where accuracy comes from, and joining it to records: a user's tables, and published rows of a host model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from upbench.accuracy import on_host, proxies
from upbench.accuracy.proxies import Proxy
from upbench.errors import SpecError
from upbench.metrics import METRICS
from upbench.papers import given, given_join
from upbench.papers.given import GivenTable, Value
from upbench.papers.given_file import GivenMetric
from upbench.papers.given_join import Place, place
from upbench.records.accuracy import Accuracy
from upbench.records.record import Record

NAMED = 6
"""The most rows that match nothing which a sentence names."""
TAKEN = (
    "published",
    "given",
    "label",
    "shape",
    "scale",
    "batch",
    "dtype",
    "mode",
    "status",
    "stage",
    "verdict",
    "upsampler",
)
"""Names of columns that no metric can have."""


class _Cell(Protocol):
    """A cell that will be measured: its spec is None where it is impossible."""

    @property
    def axes(self) -> Mapping[str, Any]: ...
    @property
    def spec(self) -> Any: ...


@dataclass(frozen=True)
class Sources:
    """Tables of accuracy and the host whose published accuracy is shown.

    Args:
        tables: Tables that a user gives.
        host: The name of a host model; None for no published accuracy.
        proxies: Proxy scores that were measured.
    """

    tables: tuple[GivenTable, ...] = ()
    host: str | None = None
    proxies: tuple[Proxy, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.tables or self.proxies) or self.host is not None

    def check(self, places: Sequence[Place]) -> None:
        """Judge the tables before anything is measured.

        Raises:
            SpecError: A table does not fit the cells; the error lists all mistakes.
        """
        self._values(places)

    def attached(self, records: Sequence[Record]) -> tuple[list[Record], list[str]]:
        """Return records with their accuracy, and a sentence for what belongs to none of them.

        What a user gives stands in place of what is published of the same cell. Records keep what they had besides.

        Raises:
            SpecError: A table does not fit the records; the error lists all mistakes.
        """
        if not self:
            return list(records), []
        values, messages = self._values([of_record(record) for record in records])
        published = on_host.accuracies(records, self.host) if self.host is not None else {}
        scored = proxies.of_records(self.proxies, records)
        found = []
        for n, record in enumerate(records):
            both = {**(record.accuracy or {}), **published.get(n, {})}
            kept = {name: one for name, one in (record.accuracy or {}).items() if one.origin == "given"}
            both |= {**scored.get(n, {}), **kept, **values.get(n, {})}
            found.append(record.model_copy(update={"accuracy": both}) if both else record)
        if self.host is not None and not published:
            messages.append(f"none of what is measured has published accuracy on {self.host}")
        _agree(found)
        return found, messages

    def _values(self, places: Sequence[Place]) -> tuple[dict[int, dict[str, Accuracy]], list[str]]:
        """The accuracy of each cell by name, and sentences about rows that belong to none."""
        mistakes: list[str] = []
        messages: list[str] = []
        values: dict[int, dict[str, Accuracy]] = {}
        for table in self.tables:
            mistakes += _taken(table)
            try:
                joined = given_join.join(table, places)
            except SpecError as error:
                mistakes += error.mistakes
                continue
            for n, by_name in joined.values.items():
                for name, value in by_name.items():
                    other = values.setdefault(n, {}).get(name)
                    if other is not None:
                        mistakes.append(
                            f"{other.source} and {table.source} both give {name} of {places[n].label}; leave one"
                        )
                    values[n][name] = _accuracy(table, table.metrics[name], value)
            messages += _unmatched(table, [row.name for row in joined.unmatched])
        if mistakes:
            raise SpecError(list(dict.fromkeys(mistakes)))
        return values, messages


def read(paths: Sequence[Path], host: str | None = None) -> Sources:
    """Return the tables in files, and a host.

    Raises:
        SpecError: A file has mistakes; the error lists those of all files.
        UnknownName: No published table is of such a host.
    """
    mistakes: list[str] = []
    tables: list[GivenTable] = []
    for path in dict.fromkeys(paths):
        try:
            tables.append(given.read(path))
        except SpecError as error:
            mistakes += error.mistakes
    if mistakes:
        raise SpecError(mistakes)
    return Sources(tuple(tables), None if host is None else on_host.known(host))


def of_record(record: Record) -> Place:
    """Return what a row can be joined to of a record."""
    return place(record.label, record.axes, record.spec.given() if record.spec is not None else {})


def of_cells(cells: Sequence[_Cell]) -> list[Place]:
    """Return what a row can be joined to of the cells of a sweep, those aside that are impossible."""
    return [place(cell.spec.label, cell.axes, cell.spec.to_dict()) for cell in cells if cell.spec is not None]


def _accuracy(table: GivenTable, metric: GivenMetric, value: Value) -> Accuracy:
    return Accuracy(
        value=value.mean,
        sd=value.sd,
        runs=value.runs,
        unit=metric.unit or "",
        better=metric.better,
        decimals=metric.decimals,
        origin="given",
        source=table.source,
    )


def _taken(table: GivenTable) -> list[str]:
    """A sentence for each metric whose name is that of a quantity of upbench's own."""
    own = {name.lower() for m in METRICS.values() for name in (m.name, m.key, *m.also, *m.formerly)} | set(TAKEN)
    return [
        f"{table.source}: {name} is the name of a column of upbench's own; give the metric another name, as 'my {name}'"
        for name in table.metrics
        if name.lower() in own
    ]


def _unmatched(table: GivenTable, names: Sequence[str]) -> list[str]:
    """A sentence that names the rows which belong to nothing measured."""
    if not names:
        return []
    shown = names if len(names) <= NAMED else [*names[: NAMED - 1], f"{len(names) - NAMED + 1} others"]
    rows = "1 row matches" if len(names) == 1 else f"{len(names)} rows match"
    return [f"{table.source}: {rows} nothing that is measured: {'; '.join(shown)}"]


def _agree(records: Sequence[Record]) -> None:
    """Raise SpecError where one name stands for two metrics."""
    units: dict[str, dict[tuple[str, str], str]] = {}
    for record in records:
        for name, one in (record.accuracy or {}).items():
            units.setdefault(name, {}).setdefault((one.unit, one.better), one.source)
    mistakes = [
        f"{name} is in {unit or 'no unit'}, {better} better, in {source}, and otherwise in "
        f"{', '.join(s for s in seen.values() if s != source)}; give one of them another name"
        for name, seen in units.items()
        if len(seen) > 1
        for (unit, better), source in [next(iter(seen.items()))]
    ]
    if mistakes:
        raise SpecError(mistakes)
