"""Every measured quantity, once: its name, what it is, and how it is read from a record.

Columns, options, bounds, pictures, help texts and `docs/quantities.md` are made from `METRICS`. One more quantity is an
instrument in `measure/`, a field of the record and one entry here. Nothing here needs torch, numpy or pandas.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from upbench import conventions, units
from upbench.errors import RenamedWarning, UpbenchError, unknown
from upbench.records import derived
from upbench.records.readings import half_width, latency_samples, of_latency, total_macs
from upbench.records.readings import latency_summary as latency_summary
from upbench.units import Unit

if TYPE_CHECKING:
    from upbench.records.record import Record

SOFTWARE = ("device_type", "torch", "threads", "kernels")
"""What must agree before the memory of two runs can be compared."""
GPU = ("device", "cuda")
"""What must agree besides on a GPU, whose libraries choose their workspace by its kind."""
MACHINE = ("device", "cores", "threads", "torch", "cuda", "measurement_version", "kernels")
"""What must agree before times, or outputs to the last bit, of two runs can be compared."""


@dataclass(frozen=True)
class Metric:
    """One measured quantity.

    Args:
        name: What a user types, wherever a quantity is named: "peak-memory".
        title: The label of an axis, and the row in `profile`.
        help: What it is, in a few words, for `--help` and the documentation.
        unit: How values are printed and typed.
        field: Its place in a record: "memory.forward_peak_bytes".
        key: Its column in CSV and JSON. Default: the last part of the field.
        head: The head of a column. Default: the title.
        reader: Reads a value that is not simply the field; None where it was not measured.
        better: Which of two values is better; None where that cannot be said.
        samples: The samples that the value is the median of; None for what has no samples.
        exact: Whether it is counted, so that the same code gives the same value to the last digit.
        compared: Whether baselines and `diff` compare it; not so for parts of another quantity.
        comparable_on: Keys of the environment that must agree before values of two runs can be compared.
        comparable_on_gpu: More of them where a value was taken on a GPU.
        convention: The kind of counting convention that `--convention` applies to it.
        in_tables: Whether every table of costs has it as a column; others are asked for by name.
        also: Other names that may be typed.
        formerly: Names that it had before; they work for one more version, with a warning.
        measured: Whether upbench measures it; not so for accuracy, which a user gives or a paper printed.
    """

    name: str
    title: str
    help: str
    unit: Unit
    field: str
    key: str = ""
    head: str = ""
    reader: Callable[[Record], Any] | None = None
    better: Literal["lower", "higher"] | None = "lower"
    samples: Callable[[Record], Sequence[float] | None] | None = None
    exact: bool = True
    compared: bool = True
    comparable_on: tuple[str, ...] = ()
    comparable_on_gpu: tuple[str, ...] = ()
    convention: Literal["flops", "params"] | None = None
    in_tables: bool = True
    also: tuple[str, ...] = ()
    formerly: tuple[str, ...] = ()
    measured: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.key or self.field.rpartition(".")[2])
        object.__setattr__(self, "head", self.head or self.title)

    def read(self, record: Record) -> Any:
        """Return its value in a record, in SI base units; None where it was not measured."""
        if self.reader is not None:
            return self.reader(record)
        value: Any = record
        for part in self.field.split("."):
            value = None if value is None else getattr(value, part)
        return value

    def text(self, record: Record) -> str:
        """Return its value in a record as tables print it, with the standard deviation where one is given."""
        value = self.read(record)
        one = None if self.measured else (record.accuracy or {}).get(self.name)
        if one is None or one.sd is None:
            return self.unit.text(value)
        return f"{self.unit.text(value)} +- {units.spread(one.sd, one.decimals)}"

    def interval(self, record: Record) -> tuple[float, float] | None:
        """Return the 95 % interval of its value in a record, of accuracy one standard deviation; None for neither."""
        if not self.measured:
            one = (record.accuracy or {}).get(self.name)
            return None if one is None or one.sd is None else (one.value - one.sd, one.value + one.sd)
        found = latency_summary(record) if self.samples is not None else None
        return None if found is None else (found.low, found.high)


def _efficiency(record: Record) -> float | None:
    from upbench.machine import roofline

    return roofline.efficiency(record.roofline_s, of_latency("median")(record))


def _macs_class(name: str, title: str, head: str, formerly: str, what: str) -> Metric:
    own: dict[str, Any] = {"key": f"macs_{name}", "head": head, "compared": False, "formerly": (formerly,)}
    return Metric(f"macs-{name}", f"MACs, {title}", what, units.COUNT, f"macs.{name}", better=None, **own)


def _memory(name: str, title: str, field: str, what: str, head: str = "", **more: Any) -> Metric:
    return Metric(name, title, what, units.BYTES, f"memory.{field}", head=head, comparable_on=SOFTWARE, **more)


def _time(name: str, title: str, field: str, what: str) -> Metric:
    """A single reading of time: neither exact nor with an interval."""
    return Metric(name, title, what, units.SECONDS, f"latency.{field}", exact=False, compared=False, in_tables=False)


# fmt: off
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("params", "Params", "parameters, under --convention", units.WHOLE, "params", convention="params"),
        _macs_class("conv", "convolutions", "conv", "conv", "MACs of convolutions and linear layers"),
        _macs_class("gather", "gathers", "gather", "gather", "MACs of sampling, similarity and assembly"),
        _macs_class("norm", "norms", "norm", "norm", "MACs of norms"),
        _macs_class(
            "elementwise", "element-wise", "elementw.", "elementwise", "MACs of element-wise arithmetic and activations"
        ),
        Metric(
            "macs", "FLOPs", "multiply-accumulates (one is one FLOP), under --convention", units.COUNT, "macs.total",
            key="flops", reader=total_macs, convention="flops", also=("flops",),
        ),
        Metric(
            "latency", "Latency", "median time of a call", units.SECONDS, "latency.samples_s", key="latency_median_s",
            reader=of_latency("median"), samples=latency_samples, exact=False, comparable_on=MACHINE,
        ),
        Metric(
            "interval", "Latency, half interval", "half of the 95 % interval of the latency, as a part of it",
            units.SHARE, "latency.samples_s", key="latency_half_width", head="+-", reader=half_width,
            better=None, exact=False, compared=False,
        ),
        Metric(
            "iqr", "Latency, interquartile range", "interquartile range of the latency",
            replace(units.SECONDS, delta=None), "latency.samples_s", key="latency_iqr_s", head="IQR",
            reader=of_latency("iqr"), better=None, exact=False, compared=False,
        ),
        Metric(
            "samples", "Latency, samples", "how many samples the latency is the median of",
            replace(units.WHOLE, delta=None), "latency.samples_s", key="latency_samples", head="n",
            reader=of_latency("n"), better=None, exact=False, compared=False,
        ),
        Metric(
            "efficiency", "Efficiency", "least time at this machine's ceilings over the latency", units.SHARE,
            "roofline_s", key="efficiency", head="Effic.", reader=_efficiency, better="higher", exact=False,
            compared=False,
        ),
        Metric(
            "throughput", "Throughput, output pixels/s", "output pixels a second, at the median time of a call",
            replace(units.COUNT, text=units.rate, delta=None), "latency.samples_s", key="throughput_pixels_per_s",
            head="Pixels/s", reader=derived.throughput, better="higher", exact=False, compared=False, in_tables=False,
        ),
        *(
            Metric(
                name, f"Latency, {title}", f"{title} of the samples of the latency{condition}", replace(units.SECONDS, delta=None),
                "latency.samples_s", key=f"{name.replace('-', '_')}_s", head=head, reader=read, better=None, exact=False,
                compared=False, in_tables=False,
            )
            for name, title, head, condition, read in derived.SAMPLES
        ),
        _memory(
            "peak-memory", "Peak memory, forward", "forward_peak_bytes", "peak memory of a forward", "Peak fwd",
            comparable_on_gpu=GPU, formerly=("peak", "peak_memory"),
        ),
        _memory(
            "training-peak-memory", "Peak memory, forward + backward", "training_peak_bytes",
            "peak memory of forward and backward", "Peak fwd+bwd", comparable_on_gpu=GPU,
            formerly=("training-peak", "training_peak"),
        ),
        _memory(
            "saved-memory", "Saved for backward", "saved_bytes", "what autograd keeps from forward for backward",
            "Saved", in_tables=False, formerly=("saved", "saved_bytes"),
        ),
        _memory(
            "workspace", "Workspace, forward", "workspace_bytes", "peak memory of a forward without the output",
            "Workspace", in_tables=False, comparable_on_gpu=GPU,
        ),
        Metric(
            "op-count", "Operators", "operators that torch dispatches in a forward, views included", units.WHOLE,
            "op_count", comparable_on=SOFTWARE, comparable_on_gpu=GPU, in_tables=False, formerly=("op_count",),
        ),
        _time("first-call", "First call", "first_call_s", "time of the very first call"),
        _time("host", "On the host", "host_s", "time of a call on the host (GPU)"),
        _time("graph", "As a graph", "graph_s", "time of a replay as a CUDA graph (GPU)"),
        Metric(
            "trainable", "Trainable", "parameters that are trained", replace(units.WHOLE, delta=None),
            "params_trainable", better=None, compared=False, in_tables=False,
        ),
        Metric(
            "buffers", "Buffers", "elements of buffers", replace(units.WHOLE, delta=None), "buffers", better=None,
            compared=False, in_tables=False,
        ),
        Metric(
            "output-digest", "Output digest", "hash of the output of one forward", units.DIGEST, "output.digest",
            key="output_digest", better=None, comparable_on=MACHINE, in_tables=False, formerly=("output_digest",),
        ),
    )
}
# fmt: on
"""Name -> quantity, in the order of the columns of tables."""


def under(convention: str = conventions.DEFAULT, records: Iterable[Record] = ()) -> dict[str, Metric]:
    """Return all quantities, with parameters and MACs as a convention counts them, and the accuracy that records hold.

    Raises as `conventions.parse` does.
    """
    flops, params = conventions.parse(convention)
    rules = {"flops": (flops, conventions.flops), "params": (params, conventions.params)}
    found = dict(METRICS)
    for name, metric in METRICS.items():
        if metric.convention is None or rules[metric.convention][0] == conventions.DEFAULT:
            continue
        rule, count = rules[metric.convention]
        found[name] = replace(
            metric, title=f"{metric.title} ({rule})", head=f"{metric.head} ({rule})", reader=_counted(count, convention)
        )
    return {**found, **accuracies(records)}


def accuracies(records: Iterable[Record]) -> dict[str, Metric]:
    """Return every accuracy that is given or published for one of some records, as quantities like the measured ones."""
    first = {name: one for record in records for name, one in (record.accuracy or {}).items()}
    return {
        name: Metric(
            name,
            f"{name} ({one.unit})" if one.unit not in ("", "percent") else name,
            "proxy score of a tiny network trained here"
            if one.origin == "proxy"
            else "accuracy of the model around the upsampler, not measured here",
            units.accuracy(one.unit, one.decimals),
            "accuracy",
            key=name,
            reader=_accuracy(name),
            better=one.better,
            exact=False,
            compared=False,
            measured=False,
        )
        for name, one in first.items()
    }


def _accuracy(name: str) -> Callable[[Record], float | None]:
    return lambda record: one.value if (one := (record.accuracy or {}).get(name)) else None


def _counted(rule: Callable[[conventions.Breakdown, str], int], convention: str) -> Callable[[Record], int | None]:
    return lambda record: rule(record.breakdown, convention) if record.breakdown else None


def numeric(known: Mapping[str, Metric] | None = None) -> dict[str, Metric]:
    """Return the quantities that are numbers and can be drawn."""
    return {name: m for name, m in (METRICS if known is None else known).items() if m.unit.numeric}


def with_evidence(known: Mapping[str, Metric] | None = None) -> dict[str, Metric]:
    """Return the quantities that two values can be judged by: exact ones, those with samples, accuracy; bounds and effects use them."""
    return {name: m for name, m in numeric(known).items() if m.exact or m.samples is not None or not m.measured}


def compared() -> dict[str, Metric]:
    """Return the exact numbers that baselines hold and `diff` compares."""
    return {name: m for name, m in numeric().items() if m.exact and m.compared}


def is_known(name: str) -> bool:
    """Return whether a quantity has, or had, this name."""
    return any(name.strip().lower() in (m.name, *m.also, *m.formerly) for m in METRICS.values())


def spelling(name: str, known: Iterable[str]) -> str:
    """The name of `known` that is meant by `name`, or `name` itself where none is.

    Upper and lower case are alike. An older spelling is understood with a RenamedWarning.
    """
    names = {text.lower(): text for text in known}
    lowered = name.strip().lower()
    if lowered in names:
        return names[lowered]
    for metric in METRICS.values():
        if metric.name in names.values() and lowered in (*metric.also, *metric.formerly):
            if lowered in metric.formerly:
                text = f"{name.strip()!r} is now called {metric.name!r}; the old spelling works in this version only"
                warnings.warn(text, RenamedWarning, stacklevel=3)
            return metric.name
    return name.strip()


def find(name: str, known: Mapping[str, Metric], kind: str, listed: Iterable[str] | None = None) -> Metric:
    """The quantity of a name among `known`.

    Args:
        name: As it was typed.
        known: The quantities that can be had here.
        kind: What the name stands for in a message.
        listed: What the message lists as known. Default: the names of `known`.

    Raises UnknownName with all that are known and the nearest, UpbenchError for one that exists but cannot be had here.
    """
    meant = spelling(name, METRICS)
    if meant in known:
        return known[meant]
    names = [*(known if listed is None else listed)]
    if meant in METRICS:
        why = "has no interval to judge it by" if METRICS[meant].unit.numeric else "is no number"
        raise UpbenchError(f"{kind} {meant!r} {why}; known: {', '.join(names)}")
    raise unknown(kind, name, names)
