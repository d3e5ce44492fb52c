"""Two tables about a sweep: what each axis does, and which cells no other cell beats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from upbench import conventions, effects, units
from upbench.effects import Effect
from upbench.errors import UpbenchError
from upbench.record import Record
from upbench.report import beside, cells, columns, failure, foot, layout, place
from upbench.report.columns import Column
from upbench.report.layout import Footnotes
from upbench.report.sheet import Table

RAW = (
    "axis", "level", "reference", "metric", "pairs", "ratio", "low", "high", "least", "most", "difference", "verdict",
    "exact", "measured_on", "torch", "upbench",
)  # fmt: skip

FRONT = ("on_front", "dominated_by", "status", "measured_on", "torch", "upbench")
"""What CSV has after the axes and the metrics."""


def main(
    records: Sequence[Record],
    axes: Sequence[str],
    title: str,
    asked: Sequence[Column],
    convention: str = conventions.DEFAULT,
    base: str | None = None,
    brief: bool = False,
) -> Table:
    """Main effects: a row for each level of each axis, against the axis's reference level.

    base: AXIS=VALUE,... for other reference levels than `effects.reference_level` chooses. CSV has a row for each
    metric. brief: without the notes that `front` has too, under which they stand when both are printed. Raises
    UpbenchError when no two cells differ in one axis only.
    """
    rows: list[list[str]] = []
    raw: list[list[Any]] = []
    starts: dict[int, str] = {}
    marks = Footnotes()
    groups = place.grouped(records, axes)
    full = True
    timed = any(m.timed for m in asked)
    heads = ["Axis", "Level", "Against", "Pairs", *(_head(m) for m in asked), *(["Verdict"] if timed else [])]
    chosen = cells.references(base, cells.grid(records, axes), _measured(records))
    for members in groups.values():
        found = cells.grid(members, axes)
        whole = effects.is_full([c for c, r in zip(found, members, strict=True) if r.status == "ok"])
        full = full and whole
        start = len(rows)
        for axis, reference in cells.within(chosen if base else {}, found, _measured(members)).items():
            for level, by_metric in _effects(members, found, axis, reference, asked).items():
                resolution = _resolution(members)
                texts, said = [], units.DASH
                for n, metric in enumerate(asked):
                    one = by_metric.get(metric.key)
                    texts.append(_text(metric, one))
                    if one is None:
                        continue
                    verdict = effects.verdict(one, resolution) if metric.timed else None
                    said = str(verdict) if metric.timed and verdict else said
                    raw.append(_raw(metric, one, verdict, members[0]))
                    if one.ratio is None and metric.measured:
                        marks.add(len(rows), 4 + n, "a ratio to 0 does not exist; the difference is shown")
                pairs = max((one.pairs for one in by_metric.values()), default=0)
                rows.append([axis, str(level), str(reference), str(pairs), *texts, *([said] if timed else [])])
        if len(rows) > start:
            starts[start] = place.machine_text(members[0], axes)
    if not rows:
        raise UpbenchError(
            "no two measured cells differ in one axis only, so that there are no effects; give the results of a sweep "
            "with an axis of several values"
        )
    notes = _how(full, len({row[0] for row in rows}) > 1, asked)
    if not brief:
        notes += [*_notes(records, axes, asked, convention), *_published_notes(records, asked)]
    return Table(
        title=f"{title}: main effects",
        heads=heads,
        rows=rows,
        numeric=[False, False, False, True, *(True for _ in asked), *([False] if timed else [])],
        raw_heads=list(RAW),
        raw_rows=raw,
        notes=notes,
        refs=marks.refs,
        footnotes=marks.texts,
        groups=starts if len(groups) > 1 else {},
        lead=3,
        label=f"{_name(records)}-effects",
    )


def _measured(records: Sequence[Record]) -> list[bool]:
    return [r.status == "ok" for r in records]


def _effects(
    members: Sequence[Record], found: Sequence[dict[str, Any]], axis: str, reference: Any, asked: Sequence[Column]
) -> dict[Any, dict[str, Effect]]:
    """Level -> metric -> effect, in the order of the levels."""
    by_level: dict[Any, dict[str, Effect]] = {}
    for metric in asked:
        read = cells.samples if metric.timed else cells.value
        values: Any = [read(metric, r) for r in members]
        for one in effects.main_effects(found, values, axis, reference):
            by_level.setdefault(one.level, {})[metric.key] = one
    order = dict.fromkeys(c[axis] for c in found if axis in c)
    return {level: by_level[level] for level in order if level in by_level}


def front(
    records: Sequence[Record],
    axes: Sequence[str],
    title: str,
    asked: Sequence[Column],
    convention: str = conventions.DEFAULT,
) -> Table:
    """Cells with their metrics, and for each whether it is on the Pareto front or which cells dominate it."""
    groups = place.grouped(records, axes)
    rows = [record for members in groups.values() for record in members]
    keys = [columns.axis(name) for name in axes]
    keys += place.context(records, axes)
    lead = keys or [columns.LABEL]
    found = [cells.candidate(r, asked, axes) for r in rows]
    able = [n for n, c in enumerate(found) if c is not None]
    better = {m.key: m.better or "lower" for m in asked}
    beaten = effects.dominated_by([c for c in found if c is not None], better, _resolution(rows))
    by: dict[int, list[int]] = {n: [able[a] for a in dominators] for n, dominators in zip(able, beaten, strict=True)}
    marks = Footnotes()
    texts: list[list[str]] = []
    raw: list[list[Any]] = []
    for m, record in enumerate(rows):
        shown = [_value(metric, record) for metric in asked]
        if m not in by:
            what = units.DASH
            why = failure.reason(record) if record.status != "ok" else "not compared: a metric is unknown here"
            marks.add(m, len(lead) + len(asked), why)
        else:
            what = "front" if not by[m] else f"dominated by {_some([foot.cell(rows[a]) for a in by[m]])}"
        texts.append([*(c.text(c.raw(record)) for c in lead), *shown, what])
        values = [cells.value(metric, record) for metric in asked]
        names = "; ".join(foot.cell(rows[a]) for a in by[m]) if m in by else None
        state = None if m not in by else not by[m]
        raw.append([*(c.raw(record) for c in lead), *values, state, names, record.status, *_where(record)])
    return Table(
        title=f"{title}: Pareto front",
        heads=[*(c.title for c in lead), *(_head(m) for m in asked), "Front"],
        rows=texts,
        numeric=[*(c.numeric for c in lead), *(True for _ in asked), False],
        raw_heads=[*(c.key for c in lead), *(m.key for m in asked), *FRONT],
        raw_rows=raw,
        notes=[
            *_front_notes(asked, rows),
            *_notes(records, axes, asked, convention),
            *_published_notes(records, asked),
        ],
        refs=marks.refs,
        footnotes=marks.texts,
        groups=layout.headings(groups, axes),
        lead=len(lead),
        label=f"{_name(records)}-front",
    )


def _head(metric: Column) -> str:
    return metric.title if metric.measured else f"{metric.title} (published)"


def _value(metric: Column, record: Record) -> str:
    value = cells.value(metric, record)
    return metric.text(value) if value is not None else failure.text(record)


def _some(names: Sequence[str]) -> str:
    return foot.some(names, 0, most=2)


def _text(metric: Column, one: Effect | None) -> str:
    """'1.26x (1.22-1.31)' for what is timed, '1.50x (+1.1M)' for what is counted, '+0.3' for what is published."""
    if one is None:
        return units.DASH
    delta: Callable[[Any], str] = metric.delta or units.delta
    if not metric.measured or one.ratio is None:
        return delta(one.difference)
    inside = units.interval(one.low, one.high) if metric.timed else delta(one.difference)
    pairs = units.interval(one.least, one.most)
    several = f", pairs {pairs}" if one.pairs > 1 and len(set(pairs.split("-"))) > 1 else ""
    return f"{units.ratio(one.ratio)} ({inside}){several}"


def _raw(metric: Column, one: Effect, verdict: object, record: Record) -> list[Any]:
    return [
        one.axis, one.level, one.reference, metric.key, one.pairs, one.ratio, one.low, one.high, one.least,
        one.most, one.difference, None if verdict is None else str(verdict), one.exact, *_where(record),
    ]  # fmt: skip


def _where(record: Record) -> list[Any]:
    return [record.environment.get(name) for name in ("device", "torch", "upbench")]


def _resolution(records: Sequence[Record]) -> float | None:
    return max((r.resolution for r in records if r.resolution is not None), default=None)


def _name(records: Sequence[Record]) -> str:
    return next((r.sweep.name for r in records if r.sweep), "records")


def _how(full: bool, several: bool, asked: Sequence[Column]) -> list[str]:
    """What exactly the numbers are."""
    design = (
        "The cells are a full grid: each effect is the balanced average over all settings of the other axes."
        if full
        else "The cells are not a full grid (one factor at a time, a list, or cells that failed): each effect is over "
        "the pairs that there are."
    )
    found = [
        "Effect: every cell is set against the one that differs from it in this axis only and has the level in "
        "`Against`; shown is the geometric mean of the ratios over these pairs. In brackets the mean difference; "
        "pairs: smallest and largest single ratio, where they differ. Counted metrics are exact and have no interval.",
        *([design] if several or not full else []),
        "Against: the level with the most pairs, then with the most cells, then the first; --base AXIS=VALUE sets another.",
    ]
    if any(m.timed for m in asked):
        found.append(
            "Latency: ratio of medians, in brackets its 95 % interval: each cell's samples are resampled on their own "
            f"({effects.RESAMPLES} times) and the mean log-ratio is taken anew. It holds the noise within the cells, not "
            "the drift between them. Verdict: as in `upbench compare`, no bound below the resolution."
        )
    if not all(m.measured for m in asked):
        found.append("Published values were printed once, without an interval; shown is their mean difference.")
    return found


def _front_notes(asked: Sequence[Column], rows: Sequence[Record]) -> list[str]:
    names = ", ".join(f"{_head(m)} ({m.better or 'lower'})" for m in asked)
    found = [
        f"Better is: {names}.",
        "A cell is dominated when another one is no worse in all of these and better in at least one; the cells that "
        "are not are the Pareto front. Only cells of equal work (shape, scale, batch, mode, offsets) on the same "
        "machine and versions are compared.",
    ]
    if any(m.timed for m in asked):
        found.append(
            "Latency counts as better only where the verdict is FASTER, and as no worse where it is SAME; where it is "
            "UNSURE there is no domination."
        )
    return found


def _notes(records: Sequence[Record], axes: Sequence[str], asked: Sequence[Column], convention: str) -> list[str]:
    return foot.notes(records, axes, asked, convention, [], False)


def _published_notes(records: Sequence[Record], asked: Sequence[Column]) -> list[str]:
    keys = {m.key for m in asked if not m.measured}
    tables = [b for b in beside.find(records) if keys & {c.key for c in b.columns}]
    return [f"{b.source[0].upper()}{b.source[1:]}." for b in tables]
