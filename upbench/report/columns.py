"""The columns a table of records can have: how to read the raw value, and how to show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Literal

from upbench import conventions, floor, stats, units
from upbench.record import Record


@dataclass(frozen=True)
class Column:
    """key: its name in CSV, unit included. title: its head in a table. raw and text: the value, and as shown.

    better: "lower" or "higher", where one value can be better than another. delta: how a difference is shown, None
    where there is none to show. measured: whether a cell that failed has no value for it.
    """

    key: str
    title: str
    raw: Callable[[Record], Any]
    text: Callable[[Any], str]
    numeric: bool = True
    better: Literal["lower", "higher"] | None = None
    delta: Callable[[Any], str] | None = None
    measured: bool = False


@lru_cache(maxsize=4096)
def _summary(samples: tuple[float, ...]) -> stats.Summary:
    return stats.summarise(samples)


def summary(record: Record) -> stats.Summary | None:
    """Order statistics of a record's latency, or None when it was not measured."""
    return _summary(tuple(record.latency.samples_s)) if record.latency else None


def _of_summary(name: str) -> Callable[[Record], float | None]:
    return lambda record: getattr(s, name) if (s := summary(record)) else None


def _macs(name: str) -> Callable[[Record], int | None]:
    return lambda record: getattr(record.macs, name) if record.macs else None


_cost = partial(Column, better="lower", measured=True)
_part = partial(Column, measured=True)


def flops(convention: str = conventions.DEFAULT) -> Column:
    """What a convention adds up; its name is in the head unless it is the default."""
    name = conventions.parse(convention)[0]
    head = "FLOPs" if name == conventions.DEFAULT else f"FLOPs ({name})"
    return _cost("flops", head, _counted(conventions.flops, convention), units.count, delta=units.delta)


def params(convention: str = conventions.DEFAULT) -> Column:
    """Parameters as a convention counts them."""
    name = conventions.parse(convention)[1]
    head = "Params" if name == conventions.DEFAULT else f"Params ({name})"
    return _cost("params", head, _counted(conventions.params, convention), units.exact, delta=units.delta)


def _counted(rule: Callable[[conventions.Breakdown, str], int], convention: str) -> Callable[[Record], int | None]:
    return lambda record: rule(record.breakdown, convention) if record.breakdown else None


def _memory(name: str) -> Callable[[Record], int | None]:
    return lambda record: getattr(record.memory, name) if record.memory else None


def text(value: object) -> str:
    return units.DASH if value is None else str(value)


LABEL = Column("label", "Upsampler", lambda r: r.label, text, numeric=False)
SHAPE = Column("shape", "Shape", lambda r: r.spec["input"]["shape"], text, numeric=False)
SCALE = Column("scale", "Scale", lambda r: r.spec["scale"], lambda v: f"{v:g}")
MACS_CONV = _part("macs_conv", "conv", _macs("conv"), units.count, delta=units.delta)
MACS_GATHER = _part("macs_gather", "gather", _macs("gather"), units.count, delta=units.delta)
MACS_NORM = _part("macs_norm", "norm", _macs("norm"), units.count, delta=units.delta)
MACS_ELEMENTWISE = _part("macs_elementwise", "elementw.", _macs("elementwise"), units.count, delta=units.delta)
MEDIAN = _cost("latency_median_s", "Latency", _of_summary("median"), units.seconds, delta=units.delta_seconds)
HALF_WIDTH = _part("latency_half_width", "+-", _of_summary("half_width"), units.percent)
IQR = _part("latency_iqr_s", "IQR", _of_summary("iqr"), units.seconds)
SAMPLES = _part("latency_samples", "n", _of_summary("n"), text)
_bytes = partial(_cost, text=units.mebibytes, delta=units.delta_mebibytes)
FORWARD = _bytes("forward_peak_bytes", "Peak fwd", _memory("forward_peak_bytes"))
TRAINING = _bytes("training_peak_bytes", "Peak fwd+bwd", _memory("training_peak_bytes"))
SAVED = _bytes("saved_bytes", "Saved", _memory("saved_bytes"))
WORKSPACE = _bytes("workspace_bytes", "Workspace", _memory("workspace_bytes"))


def _efficiency(record: Record) -> float | None:
    found = summary(record)
    return floor.efficiency(record.floor_s, found.median if found else None)


EFFICIENCY = Column("efficiency", "Effic.", _efficiency, units.percent, better="higher", measured=True)


def costs(convention: str = conventions.DEFAULT) -> tuple[Column, ...]:
    """What an upsampler costs: the columns of every table."""
    macs = (MACS_CONV, MACS_GATHER, MACS_NORM, MACS_ELEMENTWISE, flops(convention))
    time = (MEDIAN, HALF_WIDTH, IQR, SAMPLES, EFFICIENCY)
    return (params(convention), *macs, *time, FORWARD, TRAINING)


def _where(key: str, name: str) -> Column:
    """A part of the environment."""
    return Column(key, "", lambda r: r.environment.get(name), text, numeric=False)


WHERE = (
    _where("measured_on", "device"),
    _where("measured_threads", "threads"),
    _where("torch", "torch"),
    _where("upbench", "upbench"),
    _where("cuda", "cuda"),
)


RAW_ONLY = (
    Column("upsampler", "", lambda r: r.spec["upsampler"], text, numeric=False),
    Column("status", "", lambda r: r.status, text, numeric=False),
    Column("batch", "", lambda r: r.spec["input"]["batch"], text),
    Column("dtype", "", lambda r: r.spec["input"]["dtype"], text, numeric=False),
    Column("mode", "", lambda r: r.spec["measure"]["mode"], text, numeric=False),
    Column("params_trainable", "", lambda r: r.params_trainable, text),
    Column("buffers", "", lambda r: r.buffers, text),
    Column("params_all", "", lambda r: r.params, text),
    Column("macs_total", "", _macs("total"), text),
    Column("latency_q1_s", "", _of_summary("q1"), text),
    Column("latency_q3_s", "", _of_summary("q3"), text),
    Column("latency_low_s", "", _of_summary("low"), text),
    Column("latency_high_s", "", _of_summary("high"), text),
    Column("latency_stopped", "", lambda r: r.latency.stopped if r.latency else None, text, numeric=False),
    Column("floor_s", "", lambda r: r.floor_s, text),
    Column("resolution", "", lambda r: r.resolution, text),
    SAVED,
    WORKSPACE,
    Column("first_call_s", "", lambda r: r.latency.first_call_s if r.latency else None, text),
    Column("input_bytes", "", _memory("input_bytes"), text),
    Column("weight_bytes", "", _memory("weight_bytes"), text),
    Column("output_bytes", "", _memory("output_bytes"), text),
    *WHERE,
    Column("error", "", lambda r: r.error, text, numeric=False),
)
"""What CSV has besides the columns of the table."""


def titled(column: Column, title: str) -> Column:
    """A column that so far was only in CSV, with a head."""
    return replace(column, title=title)


def axis(name: str) -> Column:
    """The column of a sweep's axis."""
    return Column(name, name, lambda r: r.axes.get(name), text, numeric=False)


def ratio_to(reference: Record) -> tuple[Column, Column, Column, Column]:
    """Latency over that of `reference`, round by round: the ratio, the ends of its interval, and the verdict."""

    def part(name: str) -> Callable[[Record], float | None]:
        def value(record: Record) -> float | None:
            if not record.latency or not reference.latency:
                return None
            return getattr(paired(record, reference), name)

        return value

    title = f"Latency / {reference.label}"
    return (
        Column("latency_ratio", title, part("value"), units.ratio),
        Column("latency_ratio_low", "", part("low"), text),
        Column("latency_ratio_high", "", part("high"), text),
        Column("verdict", "Verdict", lambda r: verdict(r, reference), text, numeric=False),
    )


def verdict(record: Record, reference: Record) -> str | None:
    """FASTER, SLOWER, SAME or UNSURE; None for the reference itself."""
    if record is reference or not record.latency or not reference.latency:
        return None
    return str(stats.verdict(paired(record, reference), record.resolution or 0.0))


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
