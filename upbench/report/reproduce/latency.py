"""Published latencies and measured ones: as ratios to one row of the same table, never as times across devices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from upbench import metrics, registry, units
from upbench.errors import StoreError
from upbench.papers.published import Published, Row
from upbench.records import store
from upbench.records.record import Record
from upbench.report.formats.table import Table
from upbench.reproduce.hypotheses import Hypotheses

REFERENCES = ("bilinear", "sapa-b")
"""The upsamplers that ratios are taken to; the first of them that a table has."""
HOW = (
    "`upbench sweep sweeps/papers-latency.yaml` measures the defaults, a sweep of your own other settings; "
    "`--records results/papers-latency.jsonl` lays them beside"
)
"""How latencies are measured for these tables."""


def read(paths: Sequence[Path]) -> list[Record]:
    """Return the records of results files.

    Raises:
        StoreError: A file is not there, or has no records.
    """
    records: list[Record] = []
    for path in paths:
        if not path.exists():
            raise StoreError(f"results file {path} is not there; {HOW}")
        in_file = store.current(store.read(path).records)
        if not in_file:
            raise StoreError(f"results file {path} has no records; {HOW}")
        records += in_file
    return records


def latency_table(table: Published, records: Sequence[Record], known: Hypotheses) -> Table:
    """Return a published table of latencies: each row with its ratio to the reference, and the ratio measured here.

    Args:
        table: The published table.
        records: The records to look for its rows in.
        known: What is known of the tables' settings.
    """
    reference = _reference(table)
    base, base_record, row_records = _span(reference), *_alike(reference, table, records, known)
    rows: list[list[str]] = []
    raw: list[list[Any]] = []
    for row, record in zip(table.rows, row_records, strict=True):
        low, high = _span(row)
        ratios = (low / base[0], high / base[0])
        ours = _ratio(record, base_record)
        shown = [row.label or row.upsampler, _settings(row), _milliseconds(low, high), _ratios(*ratios)]
        rows.append([*shown, units.ratio(ours)])
        raw.append([table.id, row.upsampler, _settings(row), low, high, *ratios, ours])
    name = reference.label or reference.upsampler
    notes = [f"Published on {table.device}. Ratios to {name}; times of different devices are not compared."]
    notes += [f"{text[0].upper()}{text[1:]}." for text in table.notes]
    lacking = [
        f"{row.label or row.upsampler} ({_settings(row)})"
        for row in table.rows
        if not known.has(row.upsampler, row.settings)
    ]
    notes += [f"upbench does not build {', '.join(lacking)}."] if lacking else []
    notes += [f"Measured {_in_words(base_record)}."] if base_record else []
    notes += [f"A dash: not measured. {HOW}."] if any(line[-1] is None for line in raw) else []
    heads = ["Row", "Settings", "Published, ms", "Its ratio", "Ratio here"]
    keys = [
        "table",
        "upsampler",
        "settings",
        "published_low_ms",
        "published_high_ms",
        "ratio_low",
        "ratio_high",
        "ratio_here",
    ]
    return Table(f"{table.id}: {table.title}", heads, rows, [False, False, True, True, True], keys, raw, notes)


def text(tables: Sequence[Published], records: Sequence[Record], known: Hypotheses) -> str:
    """Return every table of latencies as Markdown.

    Args:
        tables: Published tables; those without a device have no latencies and are left out.
        records: The records to look for their rows in.
        known: What is known of the tables' settings.
    """
    from upbench.report.formats import render

    latency_tables = [t for t in tables if t.device is not None]
    return "\n".join(render.markdown(latency_table(t, records, known)) for t in latency_tables)


def _reference(table: Published) -> Row:
    """The first row of the plainest upsampler in the table."""
    for name in REFERENCES:
        for row in table.rows:
            if row.upsampler == name:
                return row
    return table.rows[0]


def _span(row: Row) -> tuple[float, float]:
    """The published latency in ms; a range where one is printed for several rows."""
    latency = row.values.get("latency")
    return (latency, latency) if latency is not None else (row.values["latency_min"], row.values["latency_max"])


def _measured(row: Row, table: Published, records: Sequence[Record], known: Hypotheses) -> list[Record]:
    """The records of the row's upsampler on the table's input, with the row's settings and otherwise the defaults."""
    if table.input is None or not known.has(row.upsampler, row.settings):
        return []
    shape = f"{table.input.channels}x{table.input.height}x{table.input.width}"
    wanted = {**registry.get(row.upsampler).defaults(), **known.params(row.upsampler, row.settings)}
    return [
        r
        for r in records
        if r.status == "ok"
        and r.latency is not None
        and r.latency.mode == "inference"
        and (r.settings.upsampler, r.settings.input.shape, r.settings.input.batch, r.settings.scale)
        == (row.upsampler, shape, 1, table.input.scale)
        and all(wanted.get(key) == value for key, value in r.settings.params.items())
    ]


def _alike(
    reference: Row, table: Published, records: Sequence[Record], known: Hypotheses
) -> tuple[Record | None, list[Record | None]]:
    """The record of the reference and of each row, all measured under the conditions under which most rows were measured."""
    best: tuple[Record | None, list[Record | None]] = (None, [None] * len(table.rows))
    measured = [_measured(row, table, records, known) for row in table.rows]
    references = {_conditions(record): record for record in _measured(reference, table, records, known)}
    for conditions, base_record in references.items():
        alike = [[r for r in candidates if _conditions(r) == conditions] for candidates in measured]
        last = [candidates[-1] if candidates else None for candidates in alike]
        if best[1].count(None) >= last.count(None):
            best = (base_record, last)
    return best


def _conditions(record: Record) -> tuple[Any, ...]:
    """What must be alike before two latencies have a ratio: device, versions, threads, input, how it was measured."""
    environment = [record.environment.value(key) for key in ("device", "torch", "threads")]
    input_ = [record.settings.input.value(key) for key in ("dtype", "memory_format", "offsets")]
    how = [record.settings.measure.value(key) for key in ("backend", "compile")]
    return (*environment, *input_, *how)


def _in_words(record: Record) -> str:
    device, torch, threads, dtype, memory_format, offsets, backend, compiled = _conditions(record)
    return (
        f"on {device}, {units.number_of(threads, 'thread')}, torch {torch}: {dtype}, {memory_format}, offsets {offsets}, backend {backend}, "
        f"compile {compiled}"
    )


def _ratio(record: Record | None, reference: Record | None) -> float | None:
    """Median over median."""
    first, second = (None if record is None else metrics.latency_summary(record) for record in (record, reference))
    return first.median / second.median if first and second else None


def _settings(row: Row) -> str:
    return ", ".join(f"{key} {value}" for key, value in row.settings.items()) or units.DASH


def _milliseconds(low: float, high: float) -> str:
    return f"{low:.1f}" if low == high else f"{low:.1f} to {high:.1f}"


def _ratios(low: float, high: float) -> str:
    return units.ratio(low) if low == high else f"{units.ratio(low)} to {units.ratio(high)}"
