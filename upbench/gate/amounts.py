"""Bounds and tolerances as they are typed: '40k', '200MiB', '3x:bilinear', '1%'."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from upbench import metrics
from upbench.errors import SpecError, UpbenchError
from upbench.metrics import Metric

_FACTOR = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*x")


@dataclass(frozen=True)
class Amount:
    """The value of a bound.

    Args:
        text: The value as written.
        value: The value in SI base units, or a factor where `reference` is given.
        reference: Name of the upsampler whose value is multiplied by the factor; None for a bound in units.
    """

    text: str
    value: Fraction
    reference: str | None = None


def bounded(name: str) -> Metric:
    """Return the metric of a bound.

    Raises:
        SpecError: If there is no such metric, or it has no bounds; names the nearest and all that can be bounded.
    """
    if metrics.spelling(name, metrics.METRICS) == "output-digest":
        raise SpecError([f"metric {name!r} has no bounds; it is compared with a baseline (--baseline FILE)"])
    return _find(name, metrics.with_evidence())


def tolerated(name: str) -> Metric:
    """Return the metric of a tolerance.

    Raises:
        SpecError: If there is no such metric, or it has no tolerance.
    """
    known = {name: metric for name, metric in metrics.METRICS.items() if metric.exact}
    if (meant := metrics.spelling(name, metrics.METRICS)) in metrics.with_evidence() and meant not in known:
        raise SpecError([f"{meant} has no tolerance, but evidence; --threshold PERCENT is the slowdown that fails"])
    return _find(name, known)


def _find(name: str, known: dict[str, Metric]) -> Metric:
    try:
        return metrics.find(name, known, "metric")
    except UpbenchError as error:
        raise SpecError([str(error)]) from None


def amount(of: Metric, text: str) -> Amount:
    """Read the value of a bound, as "40k", "200MiB", "1.5ms" or "3x:bilinear".

    Args:
        of: The metric that is bounded, which decides the units.
        text: The value as written.

    Raises:
        SpecError: If it is neither; the sentence says what may be written.
    """
    number, colon, reference = text.strip().partition(":")
    match = _FACTOR.fullmatch(number.strip())
    if match and reference.strip():
        return Amount(text.strip(), Fraction(match[1]), reference.strip())
    value = of.unit.parse(number) if not colon else None
    if value is not None:
        return Amount(text.strip(), value)
    raise SpecError([f"{text!r} is not a value of {of.name}; write {of.unit.example}"])


def tolerance(text: str) -> Fraction | None:
    """Read a tolerance: "1%" is 1/100, "off" is None, which leaves the metric out of the comparison.

    Raises:
        SpecError: If it is neither.
    """
    if text.strip() == "off":
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text.strip())
    if not match:
        raise SpecError([f"{text!r} is not a tolerance; write a percentage, as 1%, or off"])
    return Fraction(match[1]) / 100
