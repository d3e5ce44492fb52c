"""Published accuracy and measured cost: which row of a published table belongs to which record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from upbench import registry
from upbench.accuracy import on_host
from upbench.errors import unknown
from upbench.papers import Published, Row, settings
from upbench.records.accuracy import Accuracy as Value
from upbench.records.record import Record
from upbench.report.tables.result_set import ResultSet


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
    return [name for name, metric in table.metrics.items() if name not in on_host.COSTS and metric.better is not None]


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


def beside(results: ResultSet, matched: Accuracy | None) -> ResultSet:
    """Return the cells with the published accuracy of their rows, where they have no other of that name.

    Args:
        results: The cells.
        matched: The rows that were matched to those of them that were measured; None for none.
    """
    if matched is None:
        return results
    rows = {
        id(record): matched.matches[n].row for n, record in enumerate(results.measured.records) if n in matched.matches
    }
    names, table = metrics(matched.table), matched.table

    def with_accuracy(record: Record) -> Record:
        row = rows.get(id(record))
        if row is None:
            return record
        printed = {name: on_host.of(table, row, name) for name in names if name in row.values}
        return record.model_copy(update={"accuracy": {**printed, **(record.accuracy or {})}})

    return replace(results, records=[with_accuracy(record) for record in results.records])


def own(records: Sequence[Record], names: Sequence[str]) -> set[int]:
    """Return the indices of the records that are a user's own method.

    They are those of a class of the user's; where there is none, those whose accuracy is given among published ones.

    Args:
        records: The records.
        names: The quantities that are shown.
    """
    classes = {n for n, record in enumerate(records) if ":" in record.settings.upsampler}
    origins = {n: one.origin for n, record in enumerate(records) for name in names if (one := _of(record, name))}
    given = {n for n, origin in origins.items() if origin == "given"} if len(set(origins.values())) > 1 else set()
    return classes or given


def doubtful(record: Record, names: Sequence[str]) -> str:
    """Return why an accuracy of a record is uncertain in print; empty where none is."""
    return next((one.doubt for name in names if (one := _of(record, name)) and one.doubt), "")


def sentences(records: Sequence[Record], names: Sequence[str], labels: Sequence[str], part: str) -> list[str]:
    """Return the small print of accuracy: whose it is, what its bars are, which values are uncertain in print.

    Args:
        records: The records that are drawn.
        names: The quantities that are shown.
        labels: The names of the records.
        part: The part of the published table that rows are of; empty without one.
    """
    found: list[str] = []
    for name in names:
        values = [one for record in records if (one := _of(record, name))]
        if not values:
            continue
        sources: dict[str, list[str]] = {}
        for one in values:
            sources.setdefault(one.origin, []).append(one.source)
        where = f"; {part}" if part and "published" in sources else ""
        said = {origin: ", ".join(dict.fromkeys(of)) for origin, of in sources.items()}
        if len(said) == 1:
            ((origin, of),) = said.items()
            here = "of a tiny network trained here" if origin == "proxy" else "not measured here"
            found.append(f"{name}: {origin}, {here}{f' ({of}{where})' if of else ''}.")
        else:
            listed = "; ".join(f"{origin} ({of})" for origin, of in said.items())
            found.append(f"{name}, not measured here: {listed}{where}.")
        if runs := {one.runs for one in values if one.sd is not None}:
            many = ", ".join(str(n) for n in sorted(n for n in runs if n is not None))
            found.append(f"{name}: bars are one standard deviation{f' over {many} runs' if many else ''}.")
    by_doubt: dict[str, list[str]] = {}
    for record, label in zip(records, labels, strict=True):
        if doubt := doubtful(record, names):
            by_doubt.setdefault(doubt, []).append(label)
    return found + [f"? {', '.join(who)}: {doubt.rstrip('.')}." for doubt, who in by_doubt.items()]


def title(name: str, records: Sequence[Record]) -> str:
    """Return the label of an accuracy's axis: with whose number it is, where that is one for all."""
    origins = {one.origin for record in records if (one := _of(record, name))}
    return f"{name}, {origins.pop()}" if len(origins) == 1 and origins != {"proxy"} else name


def _of(record: Record, name: str) -> Value | None:
    return (record.accuracy or {}).get(name)


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
