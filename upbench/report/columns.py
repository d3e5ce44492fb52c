"""The columns a table of records can have: how to read the raw value, and how to show it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from upbench import stats, units
from upbench.record import Record


@dataclass(frozen=True)
class Column:
    """key: its name in CSV, unit included. title: its head in a table. raw and text: the value, and as shown."""

    key: str
    title: str
    raw: Callable[[Record], Any]
    text: Callable[[Any], str]
    numeric: bool = True


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


def _memory(name: str) -> Callable[[Record], int | None]:
    return lambda record: getattr(record.memory, name) if record.memory else None


def text(value: object) -> str:
    return units.DASH if value is None else str(value)


LABEL = Column("label", "Upsampler", lambda r: r.label, text, numeric=False)
SHAPE = Column("shape", "Shape", lambda r: r.spec["input"]["shape"], text, numeric=False)
SCALE = Column("scale", "Scale", lambda r: r.spec["scale"], lambda v: f"{v:g}")
PARAMS = Column("params", "Params", lambda r: r.params, units.exact)
MACS_CONV = Column("macs_conv", "MACs conv", _macs("conv"), units.count)
MACS_GATHER = Column("macs_gather", "MACs gather", _macs("gather"), units.count)
MACS_TOTAL = Column("macs_total", "MACs total", _macs("total"), units.count)
MEDIAN = Column("latency_median_s", "Latency", _of_summary("median"), units.seconds)
IQR = Column("latency_iqr_s", "IQR", _of_summary("iqr"), units.seconds)
FORWARD = Column("forward_peak_bytes", "Peak fwd", _memory("forward_peak_bytes"), units.mebibytes)
TRAINING = Column("training_peak_bytes", "Peak fwd+bwd", _memory("training_peak_bytes"), units.mebibytes)
COSTS = (PARAMS, MACS_CONV, MACS_GATHER, MACS_TOTAL, MEDIAN, IQR, FORWARD, TRAINING)

RAW_ONLY = (
    Column("upsampler", "", lambda r: r.spec["upsampler"], text, numeric=False),
    Column("status", "", lambda r: r.status, text, numeric=False),
    Column("batch", "", lambda r: r.spec["input"]["batch"], text),
    Column("dtype", "", lambda r: r.spec["input"]["dtype"], text, numeric=False),
    Column("mode", "", lambda r: r.spec["measure"]["mode"], text, numeric=False),
    Column("params_trainable", "", lambda r: r.params_trainable, text),
    Column("buffers", "", lambda r: r.buffers, text),
    Column("macs_norm", "", _macs("norm"), text),
    Column("macs_elementwise", "", _macs("elementwise"), text),
    Column("latency_q1_s", "", _of_summary("q1"), text),
    Column("latency_q3_s", "", _of_summary("q3"), text),
    Column("latency_low_s", "", _of_summary("low"), text),
    Column("latency_high_s", "", _of_summary("high"), text),
    Column("latency_samples", "", _of_summary("n"), text),
    Column("first_call_s", "", lambda r: r.latency.first_call_s if r.latency else None, text),
    Column("input_bytes", "", _memory("input_bytes"), text),
    Column("weight_bytes", "", _memory("weight_bytes"), text),
    Column("output_bytes", "", _memory("output_bytes"), text),
)
"""What CSV has besides the columns of the table."""


def axis(name: str) -> Column:
    """The column of a sweep's axis."""
    return Column(name, name, lambda r: r.axes.get(name), text, numeric=False)


def ratio_to(reference: Record) -> tuple[Column, Column, Column]:
    """Latency over that of `reference`, round by round: the ratio, and the ends of its interval."""

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
    )


def paired(record: Record, reference: Record) -> stats.Ratio:
    """The paired ratio of two records of one comparison."""
    if record.latency is None or reference.latency is None:
        raise ValueError("a record without latency has no ratio")
    return stats.paired_ratio(
        record.latency.samples_s, reference.latency.samples_s, reference.latency.samples_per_round
    )


def varying(records: Sequence[Record], columns: Mapping[Column, Any] | Sequence[Column]) -> list[Column]:
    """Those columns whose value is not the same in all records."""
    return [c for c in columns if len({c.text(c.raw(r)) for r in records}) > 1]
