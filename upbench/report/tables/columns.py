"""The columns a table of records can have: how to read the raw value, and how to show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from upbench import conventions, metrics, stats, units
from upbench.metrics import Metric
from upbench.record import Record


@dataclass(frozen=True)
class Column:
    """key: its name in CSV, unit included. title: its head in a table. raw and text: the value, and as shown.

    shown: a cell's text where it needs more than the value. better: "lower" or "higher", where one value can be better than another. delta: how a difference is shown, None
    where there is none to show. metric: what it shows, None for what is not measured here; a cell that failed has no
    value of a metric.
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

    def cell(self, record: Record) -> str:
        """A record's value as a reader sees it."""
        return self.text(self.raw(record)) if self.shown is None else self.shown(record)

    @property
    def measured(self) -> bool:
        return self.metric is not None

    @property
    def timed(self) -> bool:
        """Whether its values are medians of samples."""
        return self.metric is not None and self.metric.samples is not None


def of(metric: Metric) -> Column:
    """The column of a measured quantity."""
    unit = metric.unit
    return Column(
        metric.key, metric.head, metric.read, unit.text, unit.numeric, metric.better, unit.delta, metric=metric
    )


LABEL = Column("label", "Upsampler", lambda r: r.label, units.plain, numeric=False)
SHAPE = Column("shape", "Shape", lambda r: r.settings.input.shape, units.plain, numeric=False)
SCALE = Column("scale", "Scale", lambda r: r.settings.scale, lambda v: units.DASH if v is None else f"{v:g}")


def costs(convention: str = conventions.DEFAULT) -> tuple[Column, ...]:
    """What an upsampler costs: the columns of every table."""
    return tuple(of(metric) for metric in metrics.under(convention).values() if metric.in_tables)


def _where(key: str, name: str) -> Column:
    """A part of the environment."""
    return Column(key, "", lambda r: r.environment.value(name), units.plain, numeric=False)


WHERE = (
    _where("measured_on", "device"),
    _where("measured_threads", "threads"),
    _where("torch", "torch"),
    _where("upbench", "upbench"),
    _where("cuda", "cuda"),
)


def _summary(name: str) -> Callable[[Record], float | None]:
    return lambda record: getattr(found, name) if (found := metrics.latency_summary(record)) else None


def _memory(name: str) -> Callable[[Record], int | None]:
    return lambda record: getattr(record.memory, name) if record.memory else None


def _raw(key: str, value: Callable[[Record], Any]) -> Column:
    return Column(key, "", value, units.plain, numeric=False)


UPSAMPLER = _raw("upsampler", lambda r: r.settings.upsampler)
STATUS = Column("status", "Status", lambda r: r.status, units.plain, numeric=False)
BATCH = Column("batch", "Batch", lambda r: r.settings.input.batch, units.plain)
DTYPE = Column("dtype", "Dtype", lambda r: r.settings.input.dtype, units.plain, numeric=False)
MODE = Column("mode", "Mode", lambda r: r.settings.measure.mode, units.plain, numeric=False)
ALL_PARAMS = _raw("params_all", lambda r: r.params)


def raw_only() -> tuple[Column, ...]:
    """What CSV has besides the columns of the table."""
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
    """Columns by their key: of several with one key the first."""
    found: dict[str, Column] = {}
    for column in columns:
        found.setdefault(column.key, column)
    return list(found.values())


def axis(name: str) -> Column:
    """The column of a sweep's axis."""
    return Column(name, name, lambda r: r.axes.get(name), units.plain, numeric=False)


def ratio_to(reference: Record) -> tuple[Column, Column, Column, Column]:
    """Latency over that of `reference`, round by round: the ratio, the ends of its interval, and the verdict."""

    def part(name: str) -> Callable[[Record], float | None]:
        def value(record: Record) -> float | None:
            if not record.latency or not reference.latency:
                return None
            return getattr(paired(record, reference), name)

        return value

    def shown(record: Record) -> str:
        if record is reference:
            return "1 (reference)"
        if record.latency is None or reference.latency is None:
            return units.DASH
        pair = paired(record, reference)
        return f"{units.ratio(pair.value)} ({units.interval(pair.low, pair.high)})"

    return (
        Column("latency_ratio", f"Latency / {reference.label}", part("value"), units.ratio, shown=shown),
        Column("latency_ratio_low", "", part("low"), units.plain),
        Column("latency_ratio_high", "", part("high"), units.plain),
        Column("verdict", "Verdict", lambda r: verdict(r, reference), units.plain, numeric=False),
    )


def verdict(record: Record, reference: Record) -> str | None:
    """FASTER, SLOWER, SAME or UNSURE; None for the reference itself."""
    if record is reference or not record.latency or not reference.latency:
        return None
    return str(stats.verdict(paired(record, reference), record.noise_floor or 0.0))


def paired(record: Record, reference: Record) -> stats.Ratio:
    """The paired ratio of two records of one comparison."""
    if record.latency is None or reference.latency is None:
        raise ValueError("a record without latency has no ratio")
    return stats.paired_ratio(
        record.latency.samples_s, reference.latency.samples_s, reference.latency.samples_per_round
    )


def varying(records: Sequence[Record], columns: Sequence[Column]) -> list[Column]:
    """Those columns whose value is not the same in all records."""
    return [c for c in columns if len({c.text(c.raw(r)) for r in records}) > 1]
