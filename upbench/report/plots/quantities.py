"""What can stand on an axis of a picture: a measured quantity of a record, with its interval and its unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from upbench import conventions, metrics
from upbench.errors import unknown
from upbench.metrics import Metric
from upbench.record import Record

Scales = tuple[tuple[float, str], ...]


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


def of(metric: Metric) -> Quantity:
    """A measured quantity, with its interval where it has samples."""

    def point(record: Record) -> Point | None:
        value = metric.read(record)
        if value is None:
            return None
        low, high = metric.interval(record) or (value, value)
        return Point(float(value), float(low), float(high))

    return Quantity(metric.name, metric.title, point, metric.unit.scales, metric.better == "higher")


def measured(convention: str = conventions.DEFAULT) -> dict[str, Quantity]:
    """Every measured number by its name; `convention` is how FLOPs and parameters are counted."""
    return {name: of(metric) for name, metric in metrics.numeric(metrics.under(convention)).items()}


def find(name: str, known: Mapping[str, Quantity], option: str) -> Quantity:
    """The quantity of this name, upper and lower case alike. Raises UnknownName with all that are known."""
    meant = metrics.spelling(name, known)
    if meant not in known:
        raise unknown(f"quantity for {option}", name, known)
    return known[meant]
