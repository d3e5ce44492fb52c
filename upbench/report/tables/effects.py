"""Two tables about a sweep: the effect of each axis, and the cells that no other cell beats."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from upbench import units
from upbench.analysis import effects
from upbench.analysis.effects import Effect
from upbench.errors import UpbenchError
from upbench.records.record import Record
from upbench.report.formats.table import MORE, Table
from upbench.report.tables import accuracy_effects, beaten, columns, effect_cells, facts, failures, notes, origins
from upbench.report.tables.columns import Column
from upbench.report.tables.effect_cells import Readings
from upbench.report.tables.pass_levels import PassLevels
from upbench.report.tables.result_set import ResultSet, noise_floor
from upbench.report.tables.sweep import Footnotes

RAW = (
    "axis", "level", "reference", "metric", "pairs", "ratio", "low", "high", "least", "most", "difference",
    "difference_low", "difference_high", "verdict", "exact", "measured_on", "torch", "upbench",
)  # fmt: skip
"""The columns of the table of effects in CSV and JSON."""

BY_SAMPLES = (
    "Latency: ratio of medians, in brackets its 95 % interval: each cell's samples are resampled on their own "
    f"({effects.RESAMPLES} times) and the mean log-ratio is taken anew. It holds the noise within the cells, not the "
    "drift between them."
)
BY_PASSES = (
    "Latency: mean difference of the log ratios to the reference in the same passes, in brackets its 95 % interval over "
    "passes, which holds the drift between cells."
)
EFFECT = "Ratio to the level in Against, mean over pairs; in brackets difference or 95 % interval."
FRONT_IN_SHORT = "Front: the cells that no other one beats in all of these columns; UNSURE beats nothing."
MORE_NOTES = f"{MORE}."
"""What is said of both tables where little is said."""
FRONT = ("on_front", "dominated_by", "status", "measured_on", "torch", "upbench")
"""The columns that CSV has after the axes and the metrics in the table of the front."""


def effects_table(
    results: ResultSet, title: str, metrics: Sequence[Column], base: str | None = None, brief: bool = False
) -> Table:
    """Return the main effects: a row for each level of each axis, against the reference level of the axis.

    CSV has a row for each metric.

    Args:
        results: The cells.
        title: The title of the sweep.
        metrics: The metrics, see `effect_cells.metric_columns`.
        base: AXIS=VALUE,... for other reference levels than `effects.reference_level` chooses.
        brief: Leave out the notes that `front_table` has too, which stands below when both are printed.

    Raises:
        UpbenchError: No two cells differ in one axis only.
    """
    lines: list[_Line] = []
    starts: dict[int, str] = {}
    full = True
    wanted = (
        effect_cells.references(base, effect_cells.grid(results, results.records), _measured(results.records))
        if base
        else {}
    )
    for group in results.groups:
        grid = effect_cells.grid(results, group.records)
        full &= effects.is_full([c for c, r in zip(grid, group.records, strict=True) if r.status == "ok"])
        levels = effect_cells.within(wanted, grid, _measured(group.records))
        passes = results.passes if len(results.groups) == 1 else PassLevels(group.records)
        group_lines = _lines(group.records, grid, levels, metrics, passes)
        if group_lines:
            starts[len(lines)] = group.heading
        lines += group_lines
    if not lines:
        raise UpbenchError(
            "no two measured cells differ in one axis only, so that there are no effects; give the results of a sweep "
            "with an axis of several values"
        )
    footnotes = _footnotes(lines, metrics)
    timed = any(m.timed for m in metrics)
    under = _how(full, len({line.axis for line in lines}) > 1, metrics, any(map(facts.in_passes, results.rows)))
    busy = results.too_busy if timed else []
    if not brief:
        under += [*notes.notes(results, metrics, False, published=False), *_published_notes(results, metrics)]
    return Table(
        title=f"{title}: main effects",
        heads=[
            "Axis",
            "Level",
            "Against",
            "Pairs",
            *(_head(m, results.rows) for m in metrics),
            *(["Verdict"] if timed else []),
        ],
        rows=[[*line.texts(metrics), *([line.verdict(metrics)] if timed else [])] for line in lines],
        numeric=[False, False, False, True, *(True for _ in metrics), *([False] if timed else [])],
        raw_heads=list(RAW),
        raw_rows=[raw for line in lines for raw in line.raw(metrics)],
        notes=[*busy, *(note for note in under if note not in busy)],
        brief=[*busy, EFFECT] if brief else _brief(EFFECT, results, metrics, busy),
        refs=footnotes.refs,
        footnotes=footnotes.texts,
        groups=starts if len(results.groups) > 1 else {},
        lead=3,
        label=f"{results.name or 'records'}-effects",
    )


@dataclass(frozen=True)
class _Line:
    """A level of an axis. effects: by the key of the metric. record: one of its machine. noise_floor: of its group."""

    axis: str
    level: Any
    reference: Any
    effects: dict[str, Effect]
    record: Record
    noise_floor: float | None

    def texts(self, metrics: Sequence[Column]) -> list[str]:
        pairs = max((effect.pairs for effect in self.effects.values()), default=0)
        shown = [_text(metric, self.effects.get(metric.key)) for metric in metrics]
        return [self.axis, str(self.level), str(self.reference), str(pairs), *shown]

    def verdict(self, metrics: Sequence[Column]) -> str:
        """Return the verdict on the metric that has samples."""
        timed = [self.effects[m.key] for m in metrics if m.timed and m.key in self.effects]
        verdicts = [v for effect in timed if (v := effects.verdict(effect, self.noise_floor))]
        return str(verdicts[-1]) if verdicts else units.DASH

    def raw(self, metrics: Sequence[Column]) -> list[list[Any]]:
        known = [(metric, self.effects[metric.key]) for metric in metrics if metric.key in self.effects]
        return [
            _raw(m, effect, effects.verdict(effect, self.noise_floor) if m.timed else None, self.record)
            for m, effect in known
        ]


def _lines(
    records: Sequence[Record],
    grid: Sequence[dict[str, Any]],
    references: Mapping[str, Any],
    metrics: Sequence[Column],
    passes: PassLevels,
) -> list[_Line]:
    noise = noise_floor(records)
    cells = effect_cells.read(records, metrics, all(r in passes or r.status != "ok" for r in records))
    return [
        _Line(axis, level, reference, by_metric, records[0], noise)
        for axis, reference in references.items()
        for level, by_metric in _effects(records, grid, axis, reference, cells, passes).items()
    ]


def _footnotes(lines: Sequence[_Line], metrics: Sequence[Column]) -> Footnotes:
    footnotes = Footnotes()
    for m, line in enumerate(lines):
        for n, metric in enumerate(metrics):
            effect = line.effects.get(metric.key)
            if effect is not None and effect.ratio is None and metric.measured:
                footnotes.add(m, 4 + n, "a ratio to 0 does not exist; the difference is shown")
    return footnotes


def _measured(records: Sequence[Record]) -> list[bool]:
    return [r.status == "ok" for r in records]


def _effects(
    members: Sequence[Record],
    grid: Sequence[dict[str, Any]],
    axis: str,
    reference: Any,
    cells: Sequence[Readings],
    passes: PassLevels,
) -> dict[Any, dict[str, Effect]]:
    """Level -> metric -> effect, in the order of the levels."""
    by_level: dict[Any, dict[str, Effect]] = {}
    for one in cells:
        metric = one.metric
        found = effects.main_effects(grid, one.values, axis, reference)
        for effect in accuracy_effects.with_intervals(found, metric, members, grid):
            own = replace(effect, exact=False) if one.in_passes else effect
            shown = passes.applied(own, members, grid) if metric.timed else effect
            by_level.setdefault(effect.level, {})[metric.key] = shown
    order = dict.fromkeys(c[axis] for c in grid if axis in c)
    return {level: by_level[level] for level in order if level in by_level}


def front_table(results: ResultSet, title: str, metrics: Sequence[Column]) -> Table:
    """Return the cells with their metrics, and for each whether it is on the Pareto front or which cells dominate it.

    Args:
        results: The cells.
        title: The title of the sweep.
        metrics: The metrics in which cells are compared.
    """
    rows = results.rows
    lead = results.keys or [columns.LABEL]
    by = beaten.of_rows(results, metrics)
    footnotes = Footnotes()
    texts: list[list[str]] = []
    raw: list[list[Any]] = []
    for m, record in enumerate(rows):
        shown = [_value(metric, record) for metric in metrics]
        names = beaten.names(by[m], rows) if m in by else None
        if names is None:
            why = failures.reason(record) if record.status != "ok" else "not compared: a metric is unknown here"
            footnotes.add(m, len(lead) + len(metrics), why)
        what = units.DASH if names is None else f"dominated by {beaten.brief(names, by[m].many)}" if names else "front"
        texts.append([*(c.text(c.raw(record)) for c in lead), *shown, what])
        values = [effect_cells.value(metric, record) for metric in metrics]
        state = (None, None) if names is None else (not names, "; ".join(names))
        raw.append([*(c.raw(record) for c in lead), *values, *state, record.status, *_machine(record)])
    busy = results.too_busy if any(m.timed for m in metrics) else []
    under = [*_front_notes(metrics, rows), *notes.notes(results, metrics, False, published=False)]
    under += _published_notes(results, metrics)
    return Table(
        title=f"{title}: Pareto front",
        heads=[*(c.title for c in lead), *(_head(m, rows) for m in metrics), "Front"],
        rows=texts,
        numeric=[*(c.numeric for c in lead), *(True for _ in metrics), False],
        raw_heads=[*(c.key for c in lead), *(m.key for m in metrics), *FRONT],
        raw_rows=raw,
        notes=[*busy, *(note for note in under if note not in busy)],
        brief=_brief(FRONT_IN_SHORT, results, metrics, busy),
        refs=footnotes.refs,
        footnotes=footnotes.texts,
        groups=results.headings,
        lead=len(lead),
        label=f"{results.name or 'records'}-front",
    )


def _brief(meaning: str, results: ResultSet, metrics: Sequence[Column], busy: Sequence[str]) -> list[str]:
    """Return the three notes that are printed unless all are wanted; that the machine was too busy comes first."""
    if busy:
        return [*busy, meaning, MORE_NOTES]
    return [meaning, *notes.brief(results.rows, metrics, results.convention)[:1], MORE_NOTES]


def _head(metric: Column, rows: Sequence[Record]) -> str:
    return f"{metric.title} (published)" if metric.metric is None else origins.title(metric, rows)


def _value(metric: Column, record: Record) -> str:
    value = effect_cells.value(metric, record)
    return metric.text(value) if value is not None else failures.text(record)


def _text(metric: Column, effect: Effect | None) -> str:
    """'1.26x (1.22-1.31)' for what is timed, '1.50x (+1.1M)' for what is counted, '+0.3' for what is published."""
    if effect is None or (metric.timed and effect.high == float("inf")):  # of several runs: nothing is told
        return units.DASH
    delta: Callable[[Any], str] = metric.delta or units.delta
    if not metric.measured or effect.ratio is None:
        return accuracy_effects.text(effect, delta)
    inside = units.interval(effect.low, effect.high) if metric.timed else delta(effect.difference)
    pairs = units.interval(effect.least, effect.most)
    several = f", pairs {pairs}" if effect.pairs > 1 and len(set(pairs.split("-"))) > 1 else ""
    return f"{units.ratio(effect.ratio)} ({inside}){several}"


def _raw(metric: Column, effect: Effect, verdict: object, record: Record) -> list[Any]:
    return [
        effect.axis, effect.level, effect.reference, metric.key, effect.pairs, effect.ratio, effect.low, effect.high, effect.least,
        effect.most, effect.difference, effect.difference_low, effect.difference_high, None if verdict is None else str(verdict), effect.exact and (metric.measured or metric.metric is None),
        *_machine(record),
    ]  # fmt: skip


def _machine(record: Record) -> list[Any]:
    return [record.environment.value(name) for name in ("device", "torch", "upbench")]


def _how(full: bool, several: bool, metrics: Sequence[Column], by_passes: bool) -> list[str]:
    """The notes on how effects are computed."""
    design = (
        "The cells are a full grid: each effect is the balanced average over all settings of the other axes."
        if full
        else "The cells are not a full grid (one factor at a time, a list, or cells that failed): each effect is over "
        "the pairs that there are."
    )
    sentences = [
        "Effect: every cell is set against the one that differs from it in this axis only and has the level in "
        "`Against`; shown is the geometric mean of the ratios over these pairs. In brackets the mean difference; "
        "pairs: smallest and largest single ratio, where they differ. Counted metrics are exact and have no interval.",
        *([design] if several or not full else []),
        "Against: the level with the most pairs, then with the most cells, then the first; --base AXIS=VALUE sets another.",
    ]
    if any(m.timed for m in metrics):
        how = BY_PASSES if by_passes else BY_SAMPLES
        sentences.append(f"{how} Verdict: as in `upbench compare`, no bound below the noise floor.")
    if not all(m.measured for m in metrics):
        published = all(m.measured or m.metric is None for m in metrics)
        sentences.append(accuracy_effects.BY_PRINT if published else accuracy_effects.BY_RUNS)
    return sentences


def _front_notes(metrics: Sequence[Column], rows: Sequence[Record]) -> list[str]:
    names = ", ".join(f"{_head(m, rows)} ({m.better or 'lower'})" for m in metrics)
    sentences = [
        f"Better is: {names}.",
        "A cell is dominated when another one is no worse in all of these and better in at least one; the cells that "
        "are not are the Pareto front. Only cells of equal work (shape, scale, batch, mode, offsets) on the same "
        "machine and versions are compared.",
    ]
    if any(m.timed for m in metrics):
        sentences.append(
            "Latency counts as better only where the verdict is FASTER, and as no worse where it is SAME; where it is "
            "UNSURE there is no domination."
        )
    return sentences


def _published_notes(results: ResultSet, metrics: Sequence[Column]) -> list[str]:
    keys = {m.key for m in metrics if not m.measured}
    sources = [b.source for b in results.published if keys & {c.key for c in b.columns}]
    return [*(f"{source[0].upper()}{source[1:]}." for source in sources), *origins.notes(metrics, results.rows)]
