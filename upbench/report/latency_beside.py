"""Published latencies beside measured ones: as ratios to one row of the same table, never as times across devices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from upbench import store, units
from upbench.errors import StoreError
from upbench.papers.hypotheses import Hypotheses
from upbench.papers.published import Published, Row
from upbench.record import Record
from upbench.report import columns
from upbench.report.sheet import Table

REFERENCES = ("bilinear", "sapa-b")
HOW = "`upbench sweep sweeps/papers-latency.yaml` measures, `--records results/papers-latency.jsonl` lays it beside"


def read(path: Path) -> list[Record]:
    """The records of a results file. Raises StoreError when it is not there or has none."""
    found = [line.record for line in store.scan(path) if line.record is not None]
    if not found:
        raise StoreError(f"results file {path} has no records; {HOW}")
    return found


def sheet(table: Published, records: Sequence[Record], known: Hypotheses) -> Table:
    """One table of latencies: published, its ratio to the reference, and the ratio that was measured here."""
    reference = _reference(table)
    base, other = _span(reference), _measured(reference, table, records, known)
    rows: list[list[str]] = []
    raw: list[list[Any]] = []
    for row in table.rows:
        low, high = _span(row)
        ratios = (low / base[0], high / base[0])
        ours = _ratio(_measured(row, table, records, known), other)
        rows.append([row.label or row.upsampler, _settings(row), _both(low, high), _both(*ratios), units.ratio(ours)])
        raw.append([table.id, row.upsampler, _settings(row), low, high, *ratios, ours])
    name = reference.label or reference.upsampler
    notes = [f"Published on {table.device}. Ratios to {name}; times of different devices are not compared."]
    devices = sorted({f"{r.environment['device']}, torch {r.environment['torch']}" for r in records})
    notes += [f"Measured on {'; '.join(devices)}."] if records else [f"A dash: not measured. {HOW}."]
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
    """Every table of latencies as Markdown."""
    from upbench.report import formats

    found = [t for t in tables if t.device is not None]
    return "\n".join(formats.markdown(sheet(t, records, known)) for t in found)


def _reference(table: Published) -> Row:
    """The first row of the plainest upsampler in the table."""
    for name in REFERENCES:
        for row in table.rows:
            if row.upsampler == name:
                return row
    return table.rows[0]


def _span(row: Row) -> tuple[float, float]:
    """The published latency in ms; a range where one is printed for several rows."""
    one = row.values.get("latency")
    return (one, one) if one is not None else (row.values["latency_min"], row.values["latency_max"])


def _measured(row: Row, table: Published, records: Sequence[Record], known: Hypotheses) -> Record | None:
    """The last record of the row's upsampler with its settings, on the table's input."""
    if table.input is None or not known.has(row.upsampler, row.settings):
        return None
    shape = f"{table.input.channels}x{table.input.height}x{table.input.width}"
    wanted = known.params(row.upsampler, row.settings)
    fitting = [
        r
        for r in records
        if r.status == "ok"
        and r.latency is not None
        and r.latency.mode == "inference"
        and (r.spec["upsampler"], r.spec["input"]["shape"], r.spec["scale"])
        == (row.upsampler, shape, table.input.scale)
        and all(r.spec["params"].get(key) == value for key, value in wanted.items())
    ]
    return fitting[-1] if fitting else None


def _ratio(record: Record | None, reference: Record | None) -> float | None:
    """Median over median, of one device with one setting of its measurement."""
    if record is None or reference is None or record.environment["device"] != reference.environment["device"]:
        return None
    one, two = columns.summary(record), columns.summary(reference)
    return one.median / two.median if one and two else None


def _settings(row: Row) -> str:
    return ", ".join(f"{key} {value}" for key, value in row.settings.items()) or units.DASH


def _both(low: float, high: float) -> str:
    return f"{low:.1f}" if low == high else f"{low:.1f} to {high:.1f}"
