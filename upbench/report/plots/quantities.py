"""What an axis of a picture can show: a measured quantity of a record, with its interval and its unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from upbench import conventions, metrics
from upbench.errors import unknown
from upbench.metrics import Metric
from upbench.records.record import Record

Scales = tuple[tuple[float, str], ...]
"""The units that an axis may be labelled in, the largest first: the factor of each and its name."""


@dataclass(frozen=True)
class Point:
    """A value in SI base units with its 95 % interval, whose ends equal the value where it is exact."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Quantity:
    """A quantity that can be drawn.

    Args:
        name: The name that --metric, --x and --y know it by.
        title: The label of its axis.
        read: Reads the value of a record; None where it was not measured.
        scales: The units that an axis may be labelled in.
        higher: Whether more of it is better.
        zero: Whether 0 has a meaning, so that an axis should show it.
    """

    name: str
    title: str
    read: Callable[[Record], Point | None]
    scales: Scales
    higher: bool = False
    zero: bool = True

    def scale_for(self, values: Sequence[float]) -> tuple[float, str]:
        """Return the factor and the unit in which the largest of some values is at least 1."""
        largest = max((abs(v) for v in values), default=0)
        return next((s for s in self.scales if largest >= s[0]), self.scales[-1])

    def text(self, value: float) -> str:
        """Return a value as an axis would print it, with its unit."""
        factor, unit = self.scale_for([value])
        return f"{value / factor:.6g}{unit}"


def of(metric: Metric) -> Quantity:
    """Return a measured quantity, with its interval where it has samples."""

    def point(record: Record) -> Point | None:
        value = metric.read(record)
        if value is None:
            return None
        low, high = metric.interval(record) or (value, value)
        return Point(float(value), float(low), float(high))

    return Quantity(
        metric.name, metric.title, point, metric.unit.scales, metric.better == "higher", zero=metric.measured
    )


def measured(convention: str = conventions.DEFAULT) -> dict[str, Quantity]:
    """Return every measured number by its name, with FLOPs and parameters counted by a convention."""
    return {name: of(metric) for name, metric in metrics.numeric(metrics.under(convention)).items()}


def find(name: str, known: Mapping[str, Quantity], option: str) -> Quantity:
    """Return the quantity of a name, upper and lower case alike.

    Args:
        name: The name, in any spelling that the command line knows.
        known: The quantities to choose from.
        option: The option that names it, for the error.

    Raises:
        UnknownName: There is no such quantity; the error lists all that there are.
    """
    spelled = metrics.spelling(name, known)
    if spelled not in known:
        raise unknown(f"quantity for {option}", name, known)
    return known[spelled]
