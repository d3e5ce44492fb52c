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
    """A bound as written. value: in SI base units, or a factor where `reference` names the upsampler it multiplies."""

    text: str
    value: Fraction
    reference: str | None = None


def bounded(name: str) -> Metric:
    """The metric of a bound. Raises SpecError naming the nearest and all that can be bounded."""
    if metrics.spelling(name, metrics.METRICS) == "output-digest":
        raise SpecError([f"metric {name!r} has no bounds; it is compared with a baseline (--baseline FILE)"])
    return _find(name, metrics.with_evidence())


def tolerated(name: str) -> Metric:
    """The metric of a tolerance. Raises SpecError for a metric that has none."""
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
    """'40k', '200MiB', '1.5ms' or '3x:bilinear'. Raises SpecError with what is allowed."""
    number, colon, reference = text.strip().partition(":")
    match = _FACTOR.fullmatch(number.strip())
    if match and reference.strip():
        return Amount(text.strip(), Fraction(match[1]), reference.strip())
    value = of.unit.parse(number) if not colon else None
    if value is not None:
        return Amount(text.strip(), value)
    raise SpecError([f"{text!r} is not a value of {of.name}; write {of.unit.example}"])


def tolerance(text: str) -> Fraction | None:
    """'1%' -> 1/100; 'off' -> None, not compared at all. Raises SpecError for anything else."""
    if text.strip() == "off":
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text.strip())
    if not match:
        raise SpecError([f"{text!r} is not a tolerance; write a percentage, as 1%, or off"])
    return Fraction(match[1]) / 100
