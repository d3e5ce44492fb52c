"""The columns a table of records can have: how to read the raw value, and how to show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from upbench import conventions, metrics, units
from upbench.analysis import rounds, stats
from upbench.metrics import Metric
from upbench.records.record import PassedRatio, Record
from upbench.report.tables import facts


@dataclass(frozen=True)
class Column:
    """A column of a table of records: how its value is read, and how it is shown.

    Args:
        key: The name of the column in CSV and JSON, unit included.
        title: The head of the column in a table.
        raw: Reads the value of a record, in SI base units; None where it is unknown.
        text: Writes a value as a reader sees it.
        numeric: Whether the values are numbers, which are aligned to the right.
        better: Which of two values is the better one; None where neither is.
        delta: Writes a difference of two values; None where there is none to show.
        metric: The quantity that the column shows, None for what is not measured here. A failed cell has no value of it.
        shown: Writes the cell of a record where its text needs more than the value.
        judged: Whether that text has a verdict in it.
        axis: Whether it is an axis of a sweep, which names rows.
        said: What --columns and --heads call it, where that is neither the quantity nor the key.
    """

    key: str
    title: str
    raw: Callable[[Record], Any]
    text: Callable[[Any], str]
    numeric: bool = True
    better: Literal["lower", "higher"] | None = None
    delta: Callable[[Any], str] | None = None
    metric: Metric | None = None
    shown: Callable[[Record], str] | None = None
    judged: bool = False
    said: str = ""
    axis: bool = False

    @property
    def name(self) -> str:
        """What --columns and --heads call the column."""
        return self.said or (self.key if self.metric is None else self.metric.name)

    def cell(self, record: Record) -> str:
        """Return the value of a record as a reader sees it."""
        return self.text(self.raw(record)) if self.shown is None else self.shown(record)

    @property
    def measured(self) -> bool:
        """Return whether the column shows a quantity that upbench measured."""
        return self.metric is not None and self.metric.measured

    @property
    def timed(self) -> bool:
        """Return whether the values are medians of samples."""
        return self.metric is not None and self.metric.samples is not None


def of(metric: Metric) -> Column:
    """Return the column of a quantity."""
    unit, shown = metric.unit, None if metric.measured else metric.text
    return Column(
        metric.key, metric.head, metric.read, unit.text, unit.numeric, metric.better, unit.delta, metric, shown
    )


LABEL = Column("label", "Upsampler", lambda r: r.label, units.plain, numeric=False)
"""The label of a record: its upsampler with the settings that are not the default."""
SHAPE = Column("shape", "Shape", lambda r: r.settings.input.shape, units.plain, numeric=False)
"""The shape of the low-resolution input, as 256x120x120."""
SCALE = Column("scale", "Scale", lambda r: r.settings.scale, lambda v: units.DASH if v is None else f"{v:g}")
"""The factor by which an upsampler enlarges its input."""


def costs(convention: str = conventions.DEFAULT) -> tuple[Column, ...]:
    """Return the columns of every table: the quantities that an upsampler costs, counted by a convention."""
    return tuple(of(metric) for metric in metrics.under(convention).values() if metric.in_tables)


def accuracies(records: Sequence[Record]) -> tuple[Column, ...]:
    """Return the columns of accuracy that every table of some records has.

    They are the metrics that a user gives; where only papers have given any, the first metric, of boxes and of masks; and
    every proxy.
    """
    known = metrics.accuracies(records)
    origins = {name: one.origin for r in records for name, one in (r.accuracy or {}).items()}
    own = {name for r in records for name, one in (r.accuracy or {}).items() if one.origin == "given"}
    proxies = {name for name, origin in origins.items() if origin == "proxy"} - own
    first = next((name for name in known if name not in proxies), "").partition(" ")[0]
    shown = own or {name for name in known if name not in proxies and name.partition(" ")[0] == first}
    return tuple(of(m) for name, m in known.items() if name in proxies or name in shown)


def accuracy_details(records: Sequence[Record]) -> tuple[Column, ...]:
    """Return the columns that only CSV and JSON have of accuracy: standard deviation, runs, whose number it is."""

    def part(name: str, field: str) -> Callable[[Record], Any]:
        return lambda record: getattr((record.accuracy or {}).get(name), field, None)

    names = metrics.accuracies(records)
    fields = ("sd", "runs", "origin", "source")
    return tuple(_raw(f"{name}_{field}", part(name, field)) for name in names for field in fields)


def _environment(key: str, name: str) -> Column:
    """A part of the environment."""
    return Column(key, "", lambda r: r.environment.value(name), units.plain, numeric=False)


WHERE = (
    _environment("measured_on", "device"),
    _environment("measured_threads", "threads"),
    _environment("torch", "torch"),
    _environment("upbench", "upbench"),
    _environment("cuda", "cuda"),
)
"""Columns of CSV that say on what machine, and with which versions, a record was measured."""


def _summary(name: str) -> Callable[[Record], float | None]:
    return lambda record: getattr(summary, name) if (summary := metrics.latency_summary(record)) else None


def _memory(name: str) -> Callable[[Record], int | None]:
    return lambda record: getattr(record.memory, name) if record.memory else None


def _raw(key: str, value: Callable[[Record], Any]) -> Column:
    return Column(key, "", value, units.plain, numeric=False)


UPSAMPLER = _raw("upsampler", lambda r: r.settings.upsampler)
"""The registered name of the upsampler, without its settings."""
STATUS = Column("status", "Status", lambda r: r.status, units.plain, numeric=False)
"""Whether the cell was measured, and if not, why."""
BATCH = Column("batch", "Batch", lambda r: r.settings.input.batch, units.plain)
"""The number of images in the input."""
DTYPE = Column("dtype", "Dtype", lambda r: r.settings.input.dtype, units.plain, numeric=False)
"""The number type of the input."""
MODE = Column("mode", "Mode", lambda r: r.settings.measure.mode, units.plain, numeric=False)
"""Whether the forward pass, the backward pass or both were measured."""
ALL_PARAMS = _raw("params_all", lambda r: r.params)
"""All parameters of the module, whatever convention the table counts by."""


def raw_only() -> tuple[Column, ...]:
    """Return the columns that only CSV and JSON have."""
    known = metrics.METRICS
    return (
        *(UPSAMPLER, STATUS, BATCH, DTYPE, MODE),
        *(of(known[name]) for name in ("trainable", "buffers")),
        ALL_PARAMS,
        _raw("macs_total", lambda r: r.macs.total if r.macs else None),
        *(_raw(f"latency_{name}_s", _summary(name)) for name in ("q1", "q3", "low", "high")),
        _raw("latency_stopped", lambda r: r.latency.stopped if r.latency else None),
        _raw("roofline_s", lambda r: r.roofline_s),
        _raw("noise_floor", lambda r: r.noise_floor),
        *(of(known[name]) for name in ("saved-memory", "workspace", "first-call")),
        *(_raw(name, _memory(name)) for name in ("input_bytes", "weight_bytes", "output_bytes")),
        *WHERE,
        _raw("error", lambda r: r.error),
    )


def each_once(columns: Sequence[Column]) -> list[Column]:
    """Return columns without repetitions: of several columns with one key the first."""
    by_key: dict[str, Column] = {}
    for column in columns:
        by_key.setdefault(column.key, column)
    return list(by_key.values())


def axis(name: str) -> Column:
    """Return the column of a sweep's axis. A record of a sweep without the axis `upsampler` has one all the same."""

    def value(record: Record) -> Any:
        found = record.axes.get(name)
        return record.settings.upsampler if found is None and name == UPSAMPLER.key else found

    return Column(name, name, value, units.plain, numeric=False, axis=True)


def ratio_to(reference: Record) -> tuple[Column, Column, Column, Column]:
    """Return the columns that set latencies against the latency of a reference, by ratios taken round by round.

    Args:
        reference: The record that latencies are divided by.

    Returns:
        The ratio, the low and the high end of its 95 % interval, and the verdict.
    """

    def part(name: str) -> Callable[[Record], float | None]:
        def value(record: Record) -> float | None:
            if not record.latency or not reference.latency:
                return None
            found: float = getattr(paired(record, reference), name)
            return found

        return value

    def shown(record: Record) -> str:
        if record is reference:
            return "1 (reference)"
        if record.latency is None or reference.latency is None:
            return units.DASH
        pair = paired(record, reference)
        return f"{units.ratio(pair.value)} ({units.interval(pair.low, pair.high)})"

    return (
        Column("latency_ratio", f"Latency / {reference.label}", part("value"), units.ratio, shown=shown, said="ratio"),
        Column("latency_ratio_low", "", part("low"), units.plain),
        Column("latency_ratio_high", "", part("high"), units.plain),
        Column("verdict", "Verdict", lambda r: verdict(r, reference), units.plain, numeric=False),
    )


def judged_ratio(reference: Record) -> Column:
    """Return the column of the ratio to a reference with its verdict, as "0.37x FASTER"."""
    ratio, _, _, said = ratio_to(reference)

    def shown(record: Record) -> str:
        judged = said.raw(record)
        return ratio.cell(record) if judged is None else f"{units.ratio(ratio.raw(record))} {judged}"

    return replace(ratio, shown=shown, judged=True)


def passed_ratio() -> tuple[Column, Column]:
    """Return the columns of the ratio to the reference of a sweep, taken in the same passes: with verdict, with interval."""

    def ratio(record: Record) -> PassedRatio | None:
        return record.latency.passes.ratio if record.latency and record.latency.passes else None

    def value(record: Record) -> float | None:
        return found.value if (found := ratio(record)) else None

    def shown(record: Record, judge: bool) -> str:
        found = ratio(record)
        if found is None:
            is_reference = record.latency is not None and record.latency.passes is not None
            return "1 (reference)" if is_reference else units.DASH
        if found.low is None or found.high is None:
            return units.ratio(found.value)
        pair = stats.Ratio(found.value, found.low, found.high, 0)
        between = f"({units.interval(found.low, found.high)})"
        return f"{units.ratio(found.value)} {stats.verdict(pair, record.noise_floor or 0.0) if judge else between}"

    plain = Column("latency_ratio", "Ratio", value, units.ratio, said="ratio")
    return replace(plain, shown=lambda r: shown(r, True)), replace(plain, shown=lambda r: shown(r, False))


def memory(records: Sequence[Record]) -> Column:
    """Return the column of the peak memory of what was timed: of forward and backward where all records are of training."""
    trained = bool(records) and all(facts.mode(r).startswith("training") for r in records)
    return replace(of(metrics.METRICS["training-peak-memory" if trained else "peak-memory"]), title="Memory")


def verdict(record: Record, reference: Record) -> str | None:
    """Return FASTER, SLOWER, SAME or UNSURE; None for the reference itself and where nothing was timed."""
    if record is reference or not record.latency or not reference.latency:
        return None
    return str(rounds.judged(paired(record, reference), record.noise_floor or 0.0))


def paired(record: Record, reference: Record) -> stats.Ratio:
    """Return the ratio of the latencies of two records, taken round by round.

    Args:
        record: The record whose latency is divided.
        reference: A record of the same comparison, timed in the same rounds.

    Raises:
        ValueError: One of the records has no latency.
    """
    if record.latency is None or reference.latency is None:
        raise ValueError("a record without latency has no ratio")
    return rounds.paired(record.latency.samples_s, reference.latency.samples_s, reference.latency.samples_per_round)


def varying(records: Sequence[Record], columns: Sequence[Column]) -> list[Column]:
    """Return the columns whose text is not the same in all records."""
    texts: list[set[str]] = [set() for _ in columns]
    for record in records:
        for column, known in zip(columns, texts, strict=True):
            known.add(column.text(column.raw(record)))
    return [column for column, known in zip(columns, texts, strict=True) if len(known) > 1]
