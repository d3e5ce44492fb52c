"""Tables of records side by side, and of one record in full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from upbench import conventions, metrics, units
from upbench.records.record import Record
from upbench.report.formats.table import Table
from upbench.report.tables import (
    backend_columns,
    column_choice,
    columns,
    headline,
    notes,
    origins,
    percentiles,
    runtime_columns,
)
from upbench.report.tables.columns import Column
from upbench.report.tables.selection import Selection
from upbench.report.tables.sweep import Footnotes

WHAT = {
    "inference": "forward",
    "training": "forward + backward",
    "training-forward": "forward, recording for backward",
    "training-backward": "backward",
}
"""What a call of each mode runs, in words."""
STOPPED = {
    "precise": "the interval is narrow enough",
    "plateau": "more samples no longer narrow the interval",
    "budget": "the budget was spent",
    "interrupted": "it was interrupted",
}
"""Why sampling ended, in words."""
TOO_NOISY = 0.5
"""The noise floor, as a part of 1, from which on that is the first note of a comparison."""
TOO_SPREAD = 0.25
"""The interquartile range, as a part of the median, from which on it is so where nothing was compared with itself."""


def comparison_table(
    records: Sequence[Record],
    reference: Record,
    convention: str = conventions.DEFAULT,
    wanted: str | None = None,
    chosen: Selection | None = None,
) -> Table:
    """Return the table of a comparison: upsamplers as rows, with their latencies relative to the reference.

    Args:
        records: One record for each upsampler, timed in the same rounds.
        reference: The record among them that latencies are divided by.
        convention: How parameters and MACs are counted.
        wanted: The names of columns, separated by commas; None for those of a paper.
        chosen: The order of the rows, and the bounds that they are to keep.
    """
    ratio, low, high, verdict = columns.ratio_to(reference)
    selection = chosen or Selection()
    rows = selection.ordered(records)
    shapes = columns.varying(records, (columns.SHAPE, columns.SCALE))
    against_eager, eager_note = backend_columns.against_eager(records)
    executed, executed_notes = runtime_columns.executed(records)
    own = column_choice.compared(wanted, records, reference, convention)
    if reference.latency is None and wanted is None:
        own = [column for column in own if column.key not in ("latency_median_s", ratio.key)]
    eager = against_eager if wanted is not None else against_eager[:1]
    shown = columns.each_once((columns.LABEL, *shapes, *own, *executed, *eager, *selection.column(records)))
    ratio_note = (
        f"{ratio.title}: median of ratios taken round by round, with its 95 % bootstrap interval (below 20 rounds mean and "
        "t interval; below 8 UNSURE). FASTER, SLOWER: by more than 5 % and, with the whole interval, by more than 2 %; "
        "SAME: the interval lies within 5 %; neither bound is ever below the noise floor."
    )
    more = (*columns.costs(convention), ratio, low, high, verdict, *against_eager)
    under = [*([ratio_note] if reference.latency is not None else []), *executed_notes, *eager_note]
    table = _build(notes.condition(records), rows, shown, more, convention, under)
    said = [headline.comparison(records, reference), selection.sentence(records, [r.label for r in records])]
    return replace(table, headline=" ".join(filter(None, said)))


def profile_table(record: Record, convention: str = conventions.DEFAULT) -> Table:
    """Return one record in full, with quantities as rows; its CSV form is a single row."""
    flat = _build(notes.condition([record]), [record], (columns.LABEL, *columns.costs(convention)), (), convention)
    rows = [*_counts(record, convention), *_time(record), *_memory(record)]
    for metric in metrics.METRICS.values():
        value, unknown = metric.read(record), percentiles.in_words(metric, record)
        if metric.name not in DETAILED and (value is not None or unknown):
            rows.append([metric.title, unknown or metric.unit.text(value)])
    return Table(
        f"{record.label}: {flat.title}",
        ["Quantity", "Value"],
        rows,
        [False, False],
        flat.raw_heads,
        flat.raw_rows,
        flat.notes,
        brief=flat.brief,
    )


DETAILED = {
    *("params", "trainable", "buffers", "macs", "macs-conv", "macs-gather", "macs-norm", "macs-elementwise"),
    *("latency", "interval", "iqr", "samples", "first-call", "host", "graph", "efficiency"),
    *("peak-memory", "training-peak-memory", "saved-memory", "workspace", "output-digest"),
}
"""Quantities that `profile_table` says more of than their value; the others follow, a row each."""


def _counts(record: Record, convention: str) -> list[list[str]]:
    rows = [["Parameters", units.exact(record.params)]]
    if record.params != record.params_trainable:
        rows.append(["  trainable", units.exact(record.params_trainable)])
    if record.buffers:
        rows.append(["Buffers", units.exact(record.buffers)])
    if convention != conventions.DEFAULT:
        counted = metrics.under(convention)
        rows += [[m.title, m.unit.text(m.read(record))] for m in (counted["params"], counted["macs"])]
    if macs := record.macs:
        pixels = _low_pixels(record)
        rows.append(["MACs", units.count(macs.total)])
        for kind in ("conv", "gather", "norm", "elementwise"):
            value = getattr(macs, kind)
            rows.append([f"  {kind}", f"{units.count(value)} ({value / pixels:,.0f} per low-resolution pixel)"])
    if ran := backend_columns.ran(record):
        rows.append(["Backend", ran])
    return rows


def _time(record: Record) -> list[list[str]]:
    latency, summary = record.latency, metrics.latency_summary(record)
    if latency is None or summary is None:
        return []
    rows = [
        [f"Latency, {WHAT[latency.mode]}", units.seconds(summary.median)],
        [
            "  95 % interval, within this run" if latency.rounds_of_pass else "  95 % interval of the median",
            f"{units.seconds(summary.low)} to {units.seconds(summary.high)}",
        ],
        [
            "  quartiles",
            f"{units.seconds(summary.q1)} to {units.seconds(summary.q3)} (IQR {units.seconds(summary.iqr)})",
        ],
        ["  samples", f"{summary.n}, {latency.calls_per_sample} calls each; ended: {STOPPED[latency.stopped]}"],
        ["  first call", units.seconds(latency.first_call_s)],
    ]
    if latency.host_s is not None:
        rows.append(["  on the host", units.seconds(latency.host_s)])
    if latency.graph_s is not None:
        rows.append(["  as a CUDA graph", units.seconds(latency.graph_s)])
    if record.roofline_s is not None:
        share = units.percent(metrics.METRICS["efficiency"].read(record))
        rows.append(["  roofline bound", f"{units.seconds(record.roofline_s)} (efficiency {share})"])
    return rows


def _memory(record: Record) -> list[list[str]]:
    memory = record.memory
    if memory is None:
        return []
    shown = ("peak-memory", "training-peak-memory", "saved-memory", "workspace")
    return [
        *([m.title, m.unit.text(m.read(record))] for m in (metrics.METRICS[name] for name in shown)),
        ["  input", units.mebibytes(memory.input_bytes)],
        ["  weights", units.mebibytes(memory.weight_bytes)],
        ["  output", units.mebibytes(memory.output_bytes)],
    ]


def operators_table(record: Record) -> Table:
    """Return the MACs of one record by operator, the largest first."""
    macs_by_op = record.macs_by_op or {}
    total = sum(macs_by_op.values())
    rows = [[name, units.count(n), units.percent(n / total)] for name, n in macs_by_op.items()]
    unseen = record.cross_check.torch_uncounted if record.cross_check else {}
    note = "Not charged by torch's counter: " + ", ".join(f"{name} ({n}x)" for name, n in unseen.items()) + "."
    return Table(
        f"{record.label}: {notes.condition([record])}",
        ["Operator", "MACs", "Share"],
        rows,
        [False, True, True],
        ["operator", "macs"],
        [[name, n] for name, n in macs_by_op.items()],
        [conventions.describe(), *([note] if unseen else []), *notes.warnings([record])],
        brief=notes.brief([record], [columns.of(metrics.METRICS["macs"])]),
        lead=1,
    )


def _build(
    title: str,
    records: Sequence[Record],
    shown: Sequence[Column],
    more: Sequence[Column],
    convention: str,
    first: Sequence[str] = (),
) -> Table:
    """A row for each record. more: columns of CSV and JSON alone. first: notes before those that always stand there."""
    details = columns.accuracy_details(records)
    raw = columns.each_once([*shown, *details, *more, columns.SHAPE, columns.SCALE, *columns.raw_only()])
    footnotes = Footnotes()
    for m, n, text in origins.footnotes(shown, records):
        footnotes.add(m, n, text)
    return Table(
        title=title,
        heads=[origins.title(c, records) for c in shown],
        rows=[[c.cell(r) for c in shown] for r in records],
        numeric=[c.numeric for c in shown],
        raw_heads=[c.key for c in raw],
        raw_rows=[[c.raw(r) for c in raw] for r in records],
        notes=[
            *first,
            conventions.describe(convention),
            *notes.memory_note(records),
            *notes.machine(records),
            *notes.noise_floor(records),
            *notes.timing(records),
            *(f"{sentence}." for sentence in percentiles.note(records, shown)),
            *notes.warnings(records),
        ],
        brief=notes.brief(records, shown, convention, busy=_busy(records)),
        lead=1,
        refs=footnotes.refs,
        footnotes=footnotes.texts,
        names=[c.name for c in shown],
    )


def _busy(records: Sequence[Record]) -> list[str]:
    """Return that the machine was too busy, where equals were far from the same or samples of one call were; else nothing."""
    timed = [r for r in records if r.latency]
    several = any(r.environment.threads != 1 for r in timed)
    advice = "try --threads 1" if several else "run it again"
    floor = max((r.noise_floor for r in timed if r.noise_floor is not None), default=0.0)
    if floor >= TOO_NOISY:
        return [f"The machine was busy: two equal builds differed by {units.percent(floor)}; {advice}."]
    summaries = [metrics.latency_summary(r) for r in timed if r.noise_floor is None]
    spreads = [summary.iqr / summary.median for summary in summaries if summary and summary.median]
    if max(spreads, default=0.0) >= TOO_SPREAD:
        return [f"The machine was busy: half of the samples spread over {units.percent(max(spreads))}; {advice}."]
    return []


def _low_pixels(record: Record) -> int:
    _, height, width = record.settings.sizes or (1, 1, 1)
    return record.settings.input.batch * height * width
