"""A table of one metric: the values of one axis as columns, the others as rows."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from upbench import conventions, units
from upbench.errors import UpbenchError, unknown
from upbench.record import Record
from upbench.report import base as bases
from upbench.report import beside, chosen, columns, failure, foot, layout, place
from upbench.report.columns import Column
from upbench.report.rank import ranks
from upbench.report.sheet import Span, Table


def choose(records: Sequence[Record], axes: Sequence[str]) -> str:
    """The axis whose values become columns: that with the fewest values but more than one, the last of several."""
    counts = {name: len({str(r.axes.get(name)) for r in records}) for name in axes}
    several = {name: n for name, n in counts.items() if n > 1}
    if len(several) < 2:
        raise UpbenchError(
            f"--pivot needs two axes with several values each, but here there is {', '.join(several) or 'none'}; "
            "leave --pivot out"
        )
    return min(reversed(list(several)), key=lambda name: several[name])


def lay(
    records: Sequence[Record],
    axes: Sequence[str],
    title: str,
    names: Sequence[str],
    across: str | None = None,
    convention: str = conventions.DEFAULT,
    base: str | None = None,
) -> Table:
    """The pivot of one metric. across: the axis whose values are columns; None chooses, see `choose`.

    The best and second best are those of the whole table. Raises UpbenchError for several metrics, or too few axes.
    """
    published = beside.find(records)
    found = chosen.pick(names, published, convention)
    if len(found) != 1:
        raise UpbenchError(
            f"--pivot shows one metric, but --columns has {len(found)} ({', '.join(c.title for c in found)}); name one"
        )
    metric = found[0]
    if across is not None and across not in axes:
        raise unknown("axis", across, axes)
    turned = across or choose(records, axes)
    keys: list[Column] = [columns.axis(name) for name in axes if name != turned]
    keys += place.context(records, axes)
    origin = bases.origin(base, records, axes)
    levels = list(dict.fromkeys(str(r.axes.get(turned)) for r in records))
    marks = layout.Footnotes()
    rows: list[list[str]] = []
    raw: list[list[object]] = []
    shown: list[tuple[tuple[int, int], Record]] = []
    groups = place.grouped(records, axes)
    starts: dict[int, str] = {}
    for members in groups.values():
        starts[len(rows)] = place.machine_text(next((r for r in members if r.status != "impossible"), members[0]), axes)
        by_key: dict[tuple[str, ...], dict[str, Record]] = {}
        for record in members:
            lead = tuple(c.text(c.raw(record)) for c in keys)
            by_key.setdefault(lead, {})[str(record.axes.get(turned))] = record
        for lead, cells in by_key.items():
            texts: list[str] = []
            values: list[object] = []
            for n, level in enumerate(levels):
                at = (len(rows), len(keys) + n)
                one = cells.get(level)
                texts.append(units.DASH if one is None else layout.shown_text(metric, one, origin(one)))
                values.append(None if one is None else metric.raw(one))
                if one is None:
                    continue
                shown.append((at, one))
                if metric.measured and one.status != "ok" and metric.raw(one) is None:
                    marks.add(*at, failure.reason(one))
                if base is not None and (note := bases.remark(metric, one, origin(one))):
                    marks.add(*at, note)
            rows.append([*lead, *texts])
            raw.append([*(c.raw(next(iter(cells.values()))) for c in keys), *values])
    emphasis = {}
    if metric.better is not None:
        numbers = [metric.raw(r) if r.status == "ok" or not metric.measured else None for _, r in shown]
        peers: list[Hashable] = [(place.machine(r, axes), place.work(r)) for _, r in shown]
        order = ranks(numbers, [metric.text(v) for v in numbers], peers, metric.better)
        emphasis = {at: rank for (at, _), rank in zip(shown, order, strict=True) if rank}
    notes = foot.notes(records, axes, [metric], convention, published, bool(emphasis), base)
    printed = next((b for b in published if metric in b.columns), None)
    notes = [f"Shown: {metric.title}{'' if printed is None else f', {printed.source}'}.", *notes]
    heads = [*(c.title for c in keys), *(f"{turned}={level}" for level in levels)]
    return Table(
        title=title,
        heads=heads,
        rows=rows,
        numeric=[*(c.numeric for c in keys), *(True for _ in levels)],
        raw_heads=[*(c.key for c in keys), *(f"{metric.key} {turned}={level}" for level in levels)],
        raw_rows=raw,
        notes=[note.replace("Best of a column", "Best of the table") for note in notes],
        ranks=emphasis,
        refs=marks.refs,
        footnotes=marks.texts,
        groups=starts if len(groups) > 1 else {},
        spans=[Span(len(keys), len(heads) - 1, metric.title)],
        lead=len(keys),
        label=next((r.sweep.name for r in records if r.sweep), ""),
    )
