"""The columns that a reader can ask for by name."""

from __future__ import annotations

from collections.abc import Sequence

from upbench import conventions, units
from upbench.errors import unknown
from upbench.record import Record
from upbench.report import beside, columns
from upbench.report.beside import Beside
from upbench.report.columns import Column

DEFAULT = "published,params,flops,latency,interval,peak,training-peak"

WORDS = {
    "published": "what the table that the sweep names printed (AP, mIoU, ...); one of them by its own name",
    "params": "parameters, under --convention",
    "flops": "multiply-accumulates, under --convention",
    "conv": "those of convolutions and linear layers",
    "gather": "those of sampling, similarity and assembly",
    "norm": "those of norms",
    "elementwise": "those of arithmetic and activations",
    "latency": "median time of a call",
    "interval": "half of its 95 % interval, as a part of it",
    "iqr": "its interquartile range",
    "samples": "how many samples it is the median of",
    "efficiency": "least time at this machine's ceilings over it",
    "first-call": "time of the very first call",
    "host": "time on the host (GPU)",
    "graph": "time as a CUDA graph (GPU)",
    "peak": "peak memory of a forward",
    "training-peak": "peak memory of forward and backward",
    "saved": "what is kept between the two",
    "workspace": "peak of a forward without the output",
    "trainable": "parameters that are trained",
    "buffers": "elements of buffers",
    "label": "the upsampler with its settings",
    "shape": "of the input",
    "scale": "output over input",
    "batch": "of the input",
    "dtype": "of the input",
    "mode": "inference, training, ...",
    "status": "ok, or why there is no measurement",
}
"""Name -> what it is. The only names that are taken."""


def _timed(name: str, title: str) -> Column:
    def value(record: Record) -> float | None:
        return getattr(record.latency, name) if record.latency else None

    return Column(
        f"{name}_shown", title, value, units.seconds, better="lower", delta=units.delta_seconds, measured=True
    )


def named(convention: str) -> dict[str, Column]:
    """Every name but `published` with its column."""
    plain = {c.key: c for c in columns.RAW_ONLY}
    titled = {"batch": "Batch", "dtype": "Dtype", "mode": "Mode", "status": "Status"}
    return {
        "params": columns.params(convention),
        "flops": columns.flops(convention),
        "conv": columns.MACS_CONV,
        "gather": columns.MACS_GATHER,
        "norm": columns.MACS_NORM,
        "elementwise": columns.MACS_ELEMENTWISE,
        "latency": columns.MEDIAN,
        "interval": columns.HALF_WIDTH,
        "iqr": columns.IQR,
        "samples": columns.SAMPLES,
        "efficiency": columns.EFFICIENCY,
        "first-call": _timed("first_call_s", "First call"),
        "host": _timed("host_s", "On the host"),
        "graph": _timed("graph_s", "As a graph"),
        "peak": columns.FORWARD,
        "training-peak": columns.TRAINING,
        "saved": columns.SAVED,
        "workspace": columns.WORKSPACE,
        "trainable": columns.titled(plain["params_trainable"], "Trainable"),
        "buffers": columns.titled(plain["buffers"], "Buffers"),
        "label": columns.LABEL,
        "shape": columns.SHAPE,
        "scale": columns.SCALE,
        **{name: columns.titled(plain[name], title) for name, title in titled.items()},
    }


def parse(text: str, records: Sequence[Record], convention: str = conventions.DEFAULT) -> list[str]:
    """The names in 'latency,params', each judged. Raises UnknownName with all that are known."""
    asked = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    metrics = [c.title for table in beside.find(records) for c in table.columns]
    for name in asked:
        if name not in WORDS and name not in metrics:
            raise unknown("column", name, [*WORDS, *metrics])
    if not asked:
        raise unknown("column", text, [*WORDS, *metrics])
    return asked


def pick(names: Sequence[str], published: Sequence[Beside], convention: str) -> list[Column]:
    """The columns of names that `parse` let pass, in their order, each once."""
    known = named(convention)
    printed = [c for table in published for c in table.columns]
    found: dict[str, Column] = {}
    for name in names:
        if name == "published":
            hits = printed
        elif name in known:
            hits = [known[name]]
        else:
            hits = [c for c in printed if c.title == name]
        found.update({c.key: c for c in hits})
    return list(found.values())
