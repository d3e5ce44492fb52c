"""A table of one metric: the values of one axis as columns, the others as rows."""

from __future__ import annotations

from collections.abc import Sequence

from upbench import units
from upbench.errors import UpbenchError, unknown
from upbench.records.record import Record
from upbench.report.formats.table import Span, Table
from upbench.report.tables import failures, notes, origins, row_names, sweep
from upbench.report.tables import relative as bases
from upbench.report.tables.columns import Column
from upbench.report.tables.result_set import ResultSet


def choose_axis(results: ResultSet) -> str:
    """Return the axis whose values become columns: of those with several values the one with the fewest, the last of equals.

    Raises:
        UpbenchError: Fewer than two axes have several values.
    """
    counts = {name: len({str(r.axes.get(name)) for r in results.records}) for name in results.axes}
    several = {name: n for name, n in counts.items() if n > 1}
    if len(several) < 2:
        raise UpbenchError(
            f"--pivot needs two axes with several values each, but here there is {', '.join(several) or 'none'}; "
            "leave --pivot out"
        )
    return min(reversed(list(several)), key=lambda name: several[name])


def pivot_table(results: ResultSet, title: str, metrics: Sequence[Column], across: str | None = None) -> Table:
    """Return the pivot of one metric; the best and the second best are those of the whole table.

    Args:
        results: The cells.
        title: The title of the table.
        metrics: The columns to be shown, of which there must be one.
        across: The axis whose values are columns; None for the one that `choose_axis` takes.

    Raises:
        UpbenchError: There are several metrics, or too few axes.
        UnknownName: There is no such axis.
    """
    metric = _only([column for column in metrics if not column.axis], across)
    if across is not None and across not in results.axes:
        raise unknown("axis", across, results.axes)
    pivoted = across or choose_axis(results)
    keys = row_names.columns(results, metrics, pivoted)
    levels = list(dict.fromkeys(str(r.axes.get(pivoted)) for r in results.records))
    lines, starts = _lines(results, keys, pivoted)
    footnotes = sweep.Footnotes()
    shown: list[tuple[tuple[int, int], Record]] = []
    rows: list[list[str]] = []
    raw: list[list[object]] = []
    for m, (lead, cells) in enumerate(lines):
        row_records = [cells.get(level) for level in levels]
        for n, record in enumerate(row_records, len(keys)):
            if record is None:
                continue
            shown.append(((m, n), record))
            if metric.measured and record.status != "ok" and metric.raw(record) is None:
                footnotes.add(m, n, failures.reason(record))
            if note := bases.remark(metric, record, results):
                footnotes.add(m, n, note)
        texts = [units.DASH if r is None else sweep.shown_text(results, metric, r) for r in row_records]
        rows.append([*lead, *texts])
        named = next(iter(cells.values()))
        raw.append([*(c.raw(named) for c in keys), *(None if r is None else metric.raw(r) for r in row_records)])
    order = sweep.ranks_of(results, metric, [r for _, r in shown])
    emphasis = {at: rank for (at, _), rank in zip(shown, order, strict=True) if rank}
    heads = [*(c.title for c in keys), *(f"{pivoted}={level}" for level in levels)]
    return Table(
        title=title,
        heads=heads,
        rows=rows,
        numeric=[*(c.numeric for c in keys), *(True for _ in levels)],
        raw_heads=[*(c.key for c in keys), *(f"{metric.key} {pivoted}={level}" for level in levels)],
        raw_rows=raw,
        notes=_notes(results, metric, bool(emphasis)),
        ranks=emphasis,
        marks=_of_table(notes.marks(results, [metric])) if emphasis else "",
        refs=footnotes.refs,
        footnotes=footnotes.texts,
        groups=starts if len(results.groups) > 1 else {},
        spans=[Span(len(keys), len(heads) - 1, metric.title, name=metric.name)],
        lead=len(keys),
        label=results.name,
        names=[*(c.name for c in keys), *(f"{pivoted}={level}" for level in levels)],
    )


def _only(metrics: Sequence[Column], across: str | None) -> Column:
    if len(metrics) != 1:
        typed = "--pivot" if across is None else f"--across {across}"
        known = ", ".join(column.name for column in metrics) or "none"
        raise UpbenchError(f"{typed} shows one quantity, but --columns has {len(metrics)} ({known}); name one")
    return metrics[0]


def _lines(
    results: ResultSet, keys: Sequence[Column], pivoted: str
) -> tuple[list[tuple[tuple[str, ...], dict[str, Record]]], dict[int, str]]:
    """The cells of each row by the value of the pivoted axis, with what names the row; and the heading of each group."""
    lines: list[tuple[tuple[str, ...], dict[str, Record]]] = []
    starts: dict[int, str] = {}
    for group in results.groups:
        starts[len(lines)] = group.heading
        by_key: dict[tuple[str, ...], dict[str, Record]] = {}
        for record in group.records:
            lead = tuple(c.text(c.raw(record)) for c in keys)
            by_key.setdefault(lead, {})[str(record.axes.get(pivoted))] = record
        lines += by_key.items()
    return lines, starts


def _notes(results: ResultSet, metric: Column, emphasised: bool) -> list[str]:
    printed = results.printed.get(metric.key)
    under = notes.notes(results, [metric], emphasised)
    return [
        f"Shown: {metric.title}{'' if printed is None else f', {printed.source}'}.",
        *origins.notes([metric], results.rows),
        *map(_of_table, under),
    ]


def _of_table(note: str) -> str:
    return note.replace("Best of a column", "Best of the table")
