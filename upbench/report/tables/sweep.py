"""The table of a sweep: the values of its axes as rows, and what was published and measured for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from upbench import units
from upbench.records.record import Record
from upbench.report.formats.table import CellIndex, Rank, Span, Table
from upbench.report.tables import columns, failures, grouping, notes, origins, row_names
from upbench.report.tables import relative as bases
from upbench.report.tables.columns import Column
from upbench.report.tables.emphasis import ranks, ranks_told_apart
from upbench.report.tables.result_set import ResultSet
from upbench.report.tables.selection import Selection

UNMATCHED = "no published row has the upsampler and all the settings of this cell"
"""The footnote of a cell that no published row fits."""


@dataclass
class Footnotes:
    """Sentences under a table and the cells that they belong to; the same sentence stands once.

    Args:
        texts: The sentences.
        refs: For each cell the indices of its sentences in `texts`.
    """

    texts: list[str] = field(default_factory=list)
    refs: dict[CellIndex, list[int]] = field(default_factory=dict)

    def add(self, row: int, column: int, text: str) -> None:
        """Add a sentence to a cell.

        Args:
            row: Number of the row; -1 is the head of the column.
            column: Number of the column.
            text: The sentence; one that is there already keeps its letter.
        """
        if text not in self.texts:
            self.texts.append(text)
        numbers = self.refs.setdefault((row, column), [])
        if (number := self.texts.index(text)) not in numbers:
            numbers.append(number)


def sweep_table(results: ResultSet, title: str, shown: Sequence[Column], headline: str = "") -> Table:
    """Return the table of a sweep. Rows are cells, grouped by machine and versions.

    Args:
        results: The cells. Where they have a base, every other row shows its difference to its base row.
        title: The title of the table.
        shown: The columns behind those that name a cell.
        headline: A sentence above the table.
    """
    rows = results.rows
    lead = [c for c in row_names.columns(results, shown) if c.axis or c not in shown] or [columns.LABEL]
    heads = [*lead, *(c for c in shown if c not in lead and not c.axis)]
    footnotes = _footnotes_of_heads(results, heads)
    raw = _raw_columns(results, heads)
    texts: dict[str, str] = {}  # a text that stands in many rows is in memory once
    raw_rows: list[list[Any]] = []
    cells: list[list[str]] = []
    for m, record in enumerate(rows):  # all that is asked of a record before the next, which takes its place in memory
        raw_rows.append([_shared(c.raw(record), texts) for c in raw])
        cells.append([_shared(_cell(results, c, record), texts) for c in heads])
        _add_footnotes(footnotes, results, heads, m, record)
    at = {column.key: n for n, column in enumerate(raw)}
    if results.base is not None:
        _write_in_one_unit(results, heads, at, raw_rows, cells)
    emphasis = {
        (m, n): rank
        for n, column in enumerate(heads)
        for m, rank in enumerate(ranks_of(results, column, rows, [row[at[column.key]] for row in raw_rows]))
        if rank
    }
    signed = notes.signed(results, heads) if results.base is not None else ""
    return Table(
        title=title,
        heads=[origins.title(c, rows) for c in heads],
        rows=cells,
        numeric=[c.numeric for c in heads],
        raw_heads=[c.key for c in raw],
        raw_rows=raw_rows,
        notes=notes.notes(results, heads, bool(emphasis)),
        brief=notes.brief(rows, heads, results.convention, notes.urgent(results, heads), results.too_busy, signed),
        headline=headline,
        ranks=emphasis,
        marks=notes.marks(results, heads) if emphasis else "",
        refs=footnotes.refs,
        footnotes=footnotes.texts,
        groups=results.headings,
        spans=_spans(results, heads),
        lead=len(lead),
        label=results.name,
        condition=notes.size(rows),
        names=[c.name for c in heads],
    )


def selected_table(results: ResultSet, title: str, shown: Sequence[Column], chosen: Selection) -> Table:
    """Return the table of a sweep with its rows in an order, and which of them keep bounds.

    Args:
        results: The cells.
        title: The title of the table.
        shown: The columns behind those that name a cell.
        chosen: The order and the bounds.
    """
    if not chosen.selects:
        return sweep_table(results, title, shown)
    records = list(results.records)
    ordered = replace(results, records=chosen.ordered(records))
    names = [grouping.cell_name(record, grouping.level_text) for record in records]
    return sweep_table(ordered, title, [*shown, *chosen.column(records)], chosen.sentence(records, names))


def default_table(results: ResultSet, title: str) -> Table:
    """Return the table that a sweep writes: what was published and given, and what everything costs."""
    printed = [column for table in results.published for column in table.columns]
    return sweep_table(results, title, [*printed, *results.accuracies, *columns.costs(results.convention)])


def shown_text(results: ResultSet, column: Column, record: Record) -> str:
    """Return a cell as a reader sees it: its value, its difference to the base row, or why it has none.

    Args:
        results: The set of the table, which knows its base row.
        column: The column of the cell.
        record: The row of the cell.
    """
    value, base = column.raw(record), results.base_of(record, column)
    if value is None:
        return failures.text(record) if column.measured else column.text(None)
    if base is None or base is record or column.delta is None or column.raw(base) is None:
        return column.cell(record)
    return column.delta(bases.difference(column, record, base))


def _write_in_one_unit(
    results: ResultSet, heads: Sequence[Column], at: Mapping[str, int], raw: Sequence[list[Any]], cells: list[list[str]]
) -> None:
    """Write each column of differences of time in one unit, so that ms do not stand between us."""
    for n, column in enumerate(heads):
        if column.metric is None or column.metric.unit is not units.SECONDS or column.delta is None:
            continue
        own, apart = at[column.key], at[f"{column.key}_delta"]
        bases = [results.base_row(record) is record for record in results.rows]
        differs = [row[apart] is not None and not base for row, base in zip(raw, bases, strict=True)]
        values = [row[apart if differ else own] for row, differ in zip(raw, differs, strict=True)]
        text = units.seconds_alike(value for value in values if value is not None)
        for row, value, differ in zip(cells, values, differs, strict=True):
            if value is not None:
                row[n] = units.signed(value, text(abs(value))) if differ and value else text(value)


def _shared(value: Any, texts: dict[str, str]) -> Any:
    """Return an equal text that is in memory already, or the value itself."""
    return texts.setdefault(value, value) if isinstance(value, str) else value


def _cell(results: ResultSet, column: Column, record: Record) -> str:
    """Return a cell of a row: of a ratio, what its column says more of than its value."""
    ratio = column.shown is not None and column.metric is None
    return column.cell(record) if ratio else shown_text(results, column, record)


def ranks_of(
    results: ResultSet, column: Column, records: Sequence[Record], raw: Sequence[Any] | None = None
) -> list[Rank]:
    """Return the rank of each record's value of a column among those that it compares with; see `ResultSet.ranked_with`.

    Args:
        results: The set that the records are of.
        column: The column.
        records: The records.
        raw: Their values of the column, where they have been read already.
    """
    if column.better is None:
        return [Rank.none] * len(records)
    # A published value is of the settings; a cell that failed here still has it.
    known = [column.raw(r) for r in records] if raw is None else raw
    values = [v if r.status == "ok" or not column.measured else None for r, v in zip(records, known, strict=True)]
    peers = [results.ranked_with(r, column) for r in records]
    if column.timed and any(record in results.passes for record in records):
        return ranks_told_apart(values, peers, lambda m, n: results.told_apart(records[m], records[n]))
    return ranks(values, [column.text(v) for v in values], peers, column.better)


def _footnotes_of_heads(results: ResultSet, heads: Sequence[Column]) -> Footnotes:
    """Footnotes in the order in which a reader meets them: those of heads, and whose number an accuracy is."""
    footnotes, printed = Footnotes(), results.printed
    for n, column in enumerate(heads):
        if column.key in printed:
            footnotes.add(-1, n, printed[column.key].source)
    for m, n, text in origins.footnotes(heads, results.rows):
        footnotes.add(m, n, text)
    return footnotes


def _add_footnotes(footnotes: Footnotes, results: ResultSet, heads: Sequence[Column], m: int, record: Record) -> None:
    """Add the footnotes of the cells of a row."""
    printed = results.printed
    first = next((n for n, c in enumerate(heads) if c.key in printed), None)
    failed = next((n for n, c in enumerate(heads) if c.measured and c.raw(record) is None), None)
    for n, column in enumerate(heads):
        table = printed.get(column.key)
        if table is not None and column.raw(record) is None and n == first:
            footnotes.add(m, n, UNMATCHED)
        if table is not None and (doubt := table.doubt(column, record)):
            footnotes.add(m, n, f"uncertain in print: {doubt}")
        if n == failed and record.status != "ok":
            footnotes.add(m, n, failures.reason(record))
        if note := bases.remark(column, record, results):
            footnotes.add(m, n, note)


def _raw_columns(results: ResultSet, heads: Sequence[Column]) -> list[Column]:
    """Everything for CSV and JSON, each key once: what is shown, differences, then all the rest."""
    differences = [
        Column(f"{c.key}_delta", "", _delta_of(results, c), units.plain)
        for c in (heads if results.base is not None else ())
        if c.delta is not None
    ]
    accuracy = [*results.accuracies, *columns.accuracy_details(results.records)]
    rest = (columns.SHAPE, columns.SCALE, columns.LABEL, *accuracy, *columns.costs(), *columns.raw_only())
    return columns.each_once([*heads, *differences, *rest])


def _delta_of(results: ResultSet, column: Column) -> Callable[[Record], Any]:
    return lambda r: None if (base := results.base_of(r, column)) is None else bases.difference(column, r, base)


def _spans(results: ResultSet, heads: Sequence[Column]) -> list[Span]:
    spans = []
    for table in results.published:
        keys = {c.key for c in table.columns}
        at = [n for n, c in enumerate(heads) if c.key in keys]
        if at and at == list(range(at[0], at[-1] + 1)):
            spans.append(Span(at[0], at[-1], table.title, " (published)"))
    return spans
