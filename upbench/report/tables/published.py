"""Columns of published tables: what a paper printed for the settings of a cell, marked as published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from upbench import papers, registry, units
from upbench.errors import UpbenchError
from upbench.papers import Published, Row, settings
from upbench.record import Record
from upbench.report.tables.columns import Column

SCALE = 2
"""The published models upsample by this factor."""


@dataclass(frozen=True)
class PublishedColumns:
    """A published table as columns of records. columns: one for each metric. title: for the head above them.

    source: the footnote of their heads. rows: the published row behind each value. notes: what was left out.
    """

    columns: list[Column]
    title: str = ""
    source: str = ""
    rows: dict[str, Row] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def doubt(self, column: Column, record: Record) -> str | None:
        """Why a value is uncertain in print, or None."""
        row = self.rows.get(_cell_key(column.key, record))
        return row.why if row is not None and row.uncertain else None


def columns_of(records: Sequence[Record]) -> list[PublishedColumns]:
    """The published tables that the records' sweeps name, in order; one that is not known is a note."""
    names = dict.fromkeys(r.sweep.published for r in records if r.sweep and r.sweep.published)
    return [_columns_of_table(name, records) for name in names]


def _columns_of_table(name: str, records: Sequence[Record]) -> PublishedColumns:
    try:
        table = papers.table(name)
    except UpbenchError as error:
        return PublishedColumns([], notes=[f"Warning: no published values are shown: {error}."])
    shown, others = _contexts(table)
    rows: dict[str, Row] = {}
    found: list[Column] = []
    for subtask in dict.fromkeys(row.subtask for row in shown):
        mine = [row for row in shown if row.subtask == subtask]
        for metric in table.metrics:
            if any(metric in row.values for row in mine):
                found.append(_column(table, metric, subtask, mine, records, rows))
    return PublishedColumns(
        found, f"published: {table.paper} {table.source.table}", _source(table, shown), rows, _left_out(others)
    )


def _column(
    table: Published,
    metric: str,
    subtask: str | None,
    rows: Sequence[Row],
    records: Sequence[Record],
    seen: dict[str, Row],
) -> Column:
    of = table.metrics[metric]
    key = "_".join(["published", metric, *([subtask] if subtask else [])])
    for record in records:
        if record.sweep and record.sweep.published == table.id:
            fitting = [row for row in rows if metric in row.values and matches(row, record)]
            if fitting and len({row.values[metric] for row in fitting}) == 1:
                seen[_cell_key(key, record)] = fitting[0]

    def value(record: Record) -> float | None:
        row = seen.get(_cell_key(key, record))
        return row.values[metric] if row is not None else None

    # In brackets, since a comma separates the names that --columns takes.
    unit = f" ({of.unit.split(' (')[0]})" if of.unit not in ("percent", "%") else ""
    return Column(
        key=key,
        title=" ".join([metric, *([subtask] if subtask else [])]) + unit,
        raw=value,
        text=lambda v: units.number(v, of.decimals),
        better=of.better,
        delta=lambda v: units.delta_number(v, of.decimals),
    )


def _cell_key(key: str, record: Record) -> str:
    return f"{key} {record.key} {record.axes!r}"


def matches(row: Row, record: Record) -> bool:
    """Whether a published row is of the upsampler and all the settings of a record; what it does not print is default."""
    spec = record.settings
    if row.upsampler != spec.upsampler or spec.scale != SCALE:
        return False
    card = registry.get(row.upsampler)
    wanted = settings.translated(row.settings, card)
    return wanted is not None and all(spec.params.get(k) == v for k, v in {**card.defaults(), **wanted}.items())


def _contexts(table: Published) -> tuple[list[Row], list[str]]:
    """The rows of the table's first section, backbone and place in the host, and the names of the other ones."""
    by_context: dict[tuple[str, ...], list[Row]] = {}
    for row in table.rows:
        parts = (row.section, row.backbone, row.settings.get("replaced"))
        by_context.setdefault(tuple(str(p) for p in parts if p), []).append(row)
    if not by_context:
        return [], []
    first, *rest = by_context
    return by_context[first], [", ".join(context) for context in rest]


def _source(table: Published, rows: Sequence[Row]) -> str:
    source = table.source
    backbones = dict.fromkeys(row.backbone for row in rows if row.backbone)
    model = ", ".join(p for p in (table.host_model, *backbones) if p)
    place = f"{source.paper} ({source.venue}), {source.table}"
    return (
        f"published, not measured here: {place}; {'; '.join(p for p in (model, table.dataset) if p)}. "
        "These values are of the whole model; what is measured here is one upsampler on one input. A row belongs to a "
        "cell when all its settings are the cell's, and what it does not print is the default"
    )


def _left_out(others: Sequence[str]) -> list[str]:
    return [f"The published table has other rows too, for {'; '.join(others)}; they are not shown."] if others else []
