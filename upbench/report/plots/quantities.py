"""What can stand on an axis of a picture: a measured quantity of a record, with its interval and its unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from upbench import conventions
from upbench.errors import unknown
from upbench.record import Record
from upbench.report import columns

Scales = tuple[tuple[float, str], ...]
_COUNT: Scales = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K"), (1, ""))
_SECONDS: Scales = ((1, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_BYTES: Scales = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1, "B"))
_PART: Scales = ((0.01, "%"),)
_PLAIN: Scales = ((1, ""),)


@dataclass(frozen=True)
class Point:
    """A value in SI base units. low, high: its 95 % interval; equal to the value where it is exact."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Quantity:
    """name: what --metric, --x and --y call it. read: its value in a record, None where it was not measured.

    scales: what an axis may be labelled in, the largest first. higher: more of it is better.
    zero: 0 has a meaning, so that an axis should show it.
    """

    name: str
    title: str
    read: Callable[[Record], Point | None]
    scales: Scales
    higher: bool = False
    zero: bool = True

    def scale_for(self, values: Sequence[float]) -> tuple[float, str]:
        """The factor and unit in which the largest of `values` is at least 1."""
        largest = max((abs(v) for v in values), default=0)
        return next((s for s in self.scales if largest >= s[0]), self.scales[-1])

    def text(self, value: float) -> str:
        """A value as an axis would print it, with its unit."""
        factor, unit = self.scale_for([value])
        return f"{value / factor:.6g}{unit}"


def _exact(read: Callable[[Record], float | None]) -> Callable[[Record], Point | None]:
    def point(record: Record) -> Point | None:
        value = read(record)
        return None if value is None else Point(float(value), float(value), float(value))

    return point


def _latency(record: Record) -> Point | None:
    found = columns.summary(record)
    return Point(found.median, found.low, found.high) if found else None


def _memory(name: str) -> Callable[[Record], Point | None]:
    return _exact(lambda record: getattr(record.memory, name) if record.memory else None)


def _macs(name: str) -> Callable[[Record], Point | None]:
    return _exact(lambda record: getattr(record.macs, name) if record.macs else None)


def _first_call(record: Record) -> float | None:
    return record.latency.first_call_s if record.latency else None


def measured(convention: str = conventions.DEFAULT) -> dict[str, Quantity]:
    """Every measured quantity by its name; `convention` is how FLOPs and parameters are counted."""
    flops, params = columns.flops(convention), columns.params(convention)
    listed = (
        Quantity("latency", "Latency", _latency, _SECONDS),
        Quantity("params", params.title, _exact(params.raw), _COUNT),
        Quantity("flops", flops.title, _exact(flops.raw), _COUNT),
        Quantity("macs-conv", "MACs, convolutions", _macs("conv"), _COUNT),
        Quantity("macs-gather", "MACs, gathers", _macs("gather"), _COUNT),
        Quantity("peak", "Peak memory, forward", _memory("forward_peak_bytes"), _BYTES),
        Quantity("training-peak", "Peak memory, training", _memory("training_peak_bytes"), _BYTES),
        Quantity("saved", "Saved for backward", _memory("saved_bytes"), _BYTES),
        Quantity("workspace", "Workspace", _memory("workspace_bytes"), _BYTES),
        Quantity("efficiency", "Efficiency", _exact(columns.EFFICIENCY.raw), _PART, higher=True),
        Quantity("first-call", "First call", _exact(_first_call), _SECONDS),
    )
    return {quantity.name: quantity for quantity in listed}


def find(name: str, known: Mapping[str, Quantity], option: str) -> Quantity:
    """The quantity of this name, upper and lower case alike. Raises UnknownName with all that are known."""
    by_lower = {key.lower(): value for key, value in known.items()}
    if name.lower() not in by_lower:
        raise unknown(f"quantity for {option}", name, known)
    return by_lower[name.lower()]
