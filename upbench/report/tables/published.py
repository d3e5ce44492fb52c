"""Columns of published tables: what a paper printed for the settings of a cell, marked as published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from upbench import papers, units
from upbench.accuracy.on_host import matches
from upbench.errors import UpbenchError
from upbench.papers import Published, Row
from upbench.records.record import Record
from upbench.report.tables.columns import Column


@dataclass(frozen=True)
class PublishedColumns:
    """A published table as columns of records.

    Args:
        columns: One column for each metric, and for each subtask that the table has.
        title: The head above these columns.
        source: The footnote of their heads.
        rows: The published row behind each value, by the key of its cell.
        notes: What was left out.
    """

    columns: list[Column]
    title: str = ""
    source: str = ""
    rows: dict[str, Row] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def doubt(self, column: Column, record: Record) -> str | None:
        """Return why a value is uncertain in print; None where it is not."""
        row = self.rows.get(_cell_key(column.key, record))
        return row.why if row is not None and row.uncertain else None


def columns_of(records: Sequence[Record]) -> list[PublishedColumns]:
    """Return the published tables that the sweeps of records name, in their order; one that is not known becomes a note."""
    names = dict.fromkeys(r.sweep.published for r in records if r.sweep and r.sweep.published)
    return [_columns_of_table(name, records) for name in names]


def _columns_of_table(name: str, records: Sequence[Record]) -> PublishedColumns:
    try:
        table = papers.find(name)
    except UpbenchError as error:
        return PublishedColumns([], notes=[f"Warning: no published values are shown: {error}."])
    shown, left_out = _contexts(table)
    of_table = [record for record in records if record.sweep and record.sweep.published == name]
    rows: dict[str, Row] = {}
    metric_columns: list[Column] = []
    for subtask in dict.fromkeys(row.subtask for row in shown):
        subtask_rows = [row for row in shown if row.subtask == subtask]
        for metric in table.metrics:
            if any(metric in row.values for row in subtask_rows):
                metric_columns.append(_column(table, metric, subtask, subtask_rows, of_table, rows))
    return PublishedColumns(
        metric_columns,
        f"published: {table.paper} {table.source.table}",
        _source(table, shown),
        rows,
        _left_out(left_out),
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
        fitting = [row for row in rows if metric in row.values and matches(row, record)]
        if fitting and len({row.values[metric] for row in fitting}) == 1:
            seen[_cell_key(key, record)] = fitting[0]

    def value(record: Record) -> float | None:
        row = seen.get(_cell_key(key, record))
        return row.values[metric] if row is not None else None

    # In brackets, since a comma separates the names that --columns takes.
    unit = f" ({of.unit.split(' (')[0]})" if of.unit not in ("percent", "%") else ""
    title = " ".join([metric, *([subtask] if subtask else [])]) + unit
    return Column(
        key=key,
        title=title,
        raw=value,
        text=lambda v: units.number(v, of.decimals),
        better=of.better,
        delta=lambda v: units.delta_number(v, of.decimals),
        said=title,
    )


def _cell_key(key: str, record: Record) -> str:
    return f"{key} {record.key} {record.axes!r}"


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
    printed_in = f"{source.paper} ({source.venue}), {source.table}"
    return (
        f"published, not measured here: {printed_in}; {'; '.join(p for p in (model, table.dataset) if p)}. "
        "These values are of the whole model; what is measured here is one upsampler on one input. A row belongs to a "
        "cell when all its settings are the cell's, and what it does not print is the default"
    )


def _left_out(contexts: Sequence[str]) -> list[str]:
    return (
        [f"The published table has other rows too, for {'; '.join(contexts)}; they are not shown."] if contexts else []
    )
