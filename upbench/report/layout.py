"""The table of a sweep: axis values as rows, what was published and what was measured beside them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from upbench import conventions, units
from upbench.record import Record
from upbench.report import base as bases
from upbench.report import beside, columns, failure, foot, place
from upbench.report.beside import Beside
from upbench.report.columns import Column
from upbench.report.rank import ranks
from upbench.report.sheet import Place, Rank, Span, Table

UNMATCHED = "no published row has the upsampler and all the settings of this cell"


@dataclass
class Footnotes:
    """Sentences under a table and the cells that they belong to; the same sentence stands once."""

    texts: list[str] = field(default_factory=list)
    refs: dict[Place, list[int]] = field(default_factory=dict)

    def add(self, row: int, column: int, text: str) -> None:
        if text not in self.texts:
            self.texts.append(text)
        mine = self.refs.setdefault((row, column), [])
        if (number := self.texts.index(text)) not in mine:
            mine.append(number)


def lay(
    records: Sequence[Record],
    axes: Sequence[str],
    title: str,
    shown: Callable[[list[Beside]], list[Column]],
    convention: str = conventions.DEFAULT,
    base: str | None = None,
) -> Table:
    """Rows are cells, grouped by machine and versions; `shown` chooses the columns, given what was published.

    base: see `base.parse`; every other row then shows its difference to its base row.
    """
    published = beside.find(records)
    chosen = shown(published)
    groups = place.grouped(records, axes)
    rows = [record for members in groups.values() for record in members]
    origin = bases.origin(base, rows, axes)
    keys = [columns.axis(name) for name in axes]
    context = [c for c in place.context(records, axes) if c not in chosen]
    lead = [*keys, *context] or [columns.LABEL]
    heads = [*lead, *(c for c in chosen if c not in lead)]
    marks = Footnotes()
    texts = [[shown_text(c, r, origin(r)) for c in heads] for r in rows]
    _annotate(marks, heads, rows, published, origin, base is not None)
    emphasis = _emphasis(heads, rows, axes)
    raw = _raw_columns(heads, origin if base is not None else None)
    return Table(
        title=title,
        heads=[c.title for c in heads],
        rows=texts,
        numeric=[c.numeric for c in heads],
        raw_heads=[c.key for c in raw],
        raw_rows=[[c.raw(r) for c in raw] for r in rows],
        notes=foot.notes(rows, axes, heads, convention, published, bool(emphasis), base),
        ranks=emphasis,
        refs=marks.refs,
        footnotes=marks.texts,
        groups=headings(groups, axes),
        spans=_spans(heads, published),
        lead=len(lead),
        label=next((r.sweep.name for r in rows if r.sweep), ""),
    )


def headings(groups: dict[tuple[Hashable, ...], list[Record]], axes: Sequence[str]) -> dict[int, str]:
    """The line above each group of rows, where there is more than one."""
    found: dict[int, str] = {}
    start = 0
    for members in groups.values():
        where = next((r for r in members if r.status != "impossible"), members[0])
        found[start] = place.machine_text(where, axes)
        start += len(members)
    return found if len(groups) > 1 else {}


def shown_text(column: Column, record: Record, base: Record | None) -> str:
    value = column.raw(record)
    if value is None:
        return failure.text(record) if column.measured else column.text(None)
    if base is None or base is record or column.delta is None or column.raw(base) is None:
        return column.text(value)
    return column.delta(bases.difference(column, record, base))


def _annotate(
    marks: Footnotes,
    heads: Sequence[Column],
    rows: Sequence[Record],
    published: Sequence[Beside],
    origin: Callable[[Record], Record | None],
    based: bool,
) -> None:
    """Footnotes, in the order in which a reader meets them: heads first, then cell by cell."""
    of = {c.key: b for b in published for c in b.columns}
    for n, column in enumerate(heads):
        if column.key in of:
            marks.add(-1, n, of[column.key].source)
    for m, record in enumerate(rows):
        failed = next((n for n, c in enumerate(heads) if c.measured and c.raw(record) is None), None)
        first = next((n for n, c in enumerate(heads) if c.key in of), None)
        for n, column in enumerate(heads):
            table = of.get(column.key)
            if table is not None and column.raw(record) is None and n == first:
                marks.add(m, n, UNMATCHED)
            if table is not None and (doubt := table.doubt(column, record)):
                marks.add(m, n, f"uncertain in print: {doubt}")
            if n == failed and record.status != "ok":
                marks.add(m, n, failure.reason(record))
            if based and (note := bases.remark(column, record, origin(record))):
                marks.add(m, n, note)


def _emphasis(heads: Sequence[Column], rows: Sequence[Record], axes: Sequence[str]) -> dict[Place, Rank]:
    peers = [(place.machine(r, axes), place.work(r)) for r in rows]
    found: dict[Place, Rank] = {}
    for n, column in enumerate(heads):
        if column.better is None:
            continue
        # A published value is of the settings; a cell that failed here still has it.
        values = [column.raw(r) if r.status == "ok" or not column.measured else None for r in rows]
        for m, rank in enumerate(ranks(values, [column.text(v) for v in values], peers, column.better)):
            if rank:
                found[m, n] = rank
    return found


def _raw_columns(heads: Sequence[Column], origin: Callable[[Record], Record | None] | None) -> list[Column]:
    """Everything for CSV and JSON, each key once: what is shown, differences, then all the rest."""
    found = {c.key: c for c in heads}
    if origin is not None:
        for column in heads:
            if column.delta is not None:
                found[f"{column.key}_delta"] = Column(f"{column.key}_delta", "", _delta_of(column, origin), units.plain)
    for column in (columns.SHAPE, columns.SCALE, columns.LABEL, *columns.costs(), *columns.raw_only()):
        found.setdefault(column.key, column)
    return list(found.values())


def _delta_of(column: Column, origin: Callable[[Record], Record | None]) -> Callable[[Record], Any]:
    return lambda r: None if (base := origin(r)) is None else bases.difference(column, r, base)


def _spans(heads: Sequence[Column], published: Sequence[Beside]) -> list[Span]:
    found = []
    for table in published:
        mine = {c.key for c in table.columns}
        places = [n for n, c in enumerate(heads) if c.key in mine]
        if places and places == list(range(places[0], places[-1] + 1)):
            found.append(Span(places[0], places[-1], table.title, " (published)"))
    return found
