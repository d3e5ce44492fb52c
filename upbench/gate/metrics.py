"""The metrics that can be gated: where each stands in a record, how its values are written and shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from upbench import conventions, units
from upbench.errors import SpecError, suggestion
from upbench.record import Record

Kind = Literal["count", "bytes", "seconds", "digest"]
FACTORS: dict[Kind, dict[str, Fraction]] = {
    "count": {"": Fraction(1), "k": Fraction(10**3), "M": Fraction(10**6), "G": Fraction(10**9), "T": Fraction(10**12)},
    "bytes": {
        "": Fraction(1),
        "B": Fraction(1),
        **{f"{p}B": Fraction(1000**n) for n, p in enumerate(("k", "M", "G"), 1)},
        **{f"{p}iB": Fraction(1024**n) for n, p in enumerate(("K", "M", "G"), 1)},
    },
    "seconds": {"s": Fraction(1), "ms": Fraction(1, 10**3), "us": Fraction(1, 10**6)},
    "digest": {},
}
EXAMPLES: dict[Kind, str] = {
    "count": "40000, 40k, 1.2M, 3G or 2x:bilinear",
    "bytes": "1024, 200MiB, 1.5GiB, 200MB or 2x:bilinear",
    "seconds": "3x:bilinear, or 12ms, 0.5s, 900us",
    "digest": "",
}
_NUMBER = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([A-Za-z]*)")


@dataclass(frozen=True)
class Metric:
    """key: its name in budgets and baselines. read: its value in a record under a convention, None when unknown.

    needs: keys of the environment that must agree before values of two runs can be compared at all. needs_on_gpu: more
    of them where it was taken on a GPU, whose libraries choose their workspace by its kind.
    """

    key: str
    kind: Kind
    read: Callable[[Record, str], int | None]
    needs: tuple[str, ...] = ()
    needs_on_gpu: tuple[str, ...] = ()

    def text(self, value: float | Fraction | None) -> str:
        """As shown to a reader: exact metrics in full, so that a difference of one is seen."""
        if value is None:
            return units.DASH
        if self.kind == "seconds":
            return units.seconds(float(value))
        number = str(int(value)) if value == int(value) else f"{float(value):.2f}"
        if self.kind == "bytes":
            return f"{number} byte{'' if value == 1 else 's'}" + (
                f" ({units.mebibytes(int(value))})" if value >= 2**20 else ""
            )
        return number


@dataclass(frozen=True)
class Amount:
    """A bound as written. value: in SI base units, or a factor where `reference` names the upsampler it multiplies."""

    text: str
    value: Fraction
    reference: str | None = None


def _params(record: Record, convention: str) -> int | None:
    if convention == conventions.DEFAULT:
        return record.params
    return conventions.params(record.breakdown, convention) if record.breakdown else None


def _macs(record: Record, convention: str) -> int | None:
    if convention == conventions.DEFAULT:
        return record.macs.total if record.macs else None
    return conventions.flops(record.breakdown, convention) if record.breakdown else None


def _memory(name: str) -> Callable[[Record, str], int | None]:
    return lambda record, convention: getattr(record.memory, name) if record.memory else None


_SOFTWARE = ("device_type", "torch", "threads", "kernels")
_GPU = ("device", "cuda")
EXACT: dict[str, Metric] = {
    m.key: m
    for m in (
        Metric("params", "count", _params),
        Metric("macs", "count", _macs),
        Metric("peak_memory", "bytes", _memory("forward_peak_bytes"), _SOFTWARE, _GPU),
        Metric("training_peak", "bytes", _memory("training_peak_bytes"), _SOFTWARE, _GPU),
        Metric("saved_bytes", "bytes", _memory("saved_bytes"), _SOFTWARE),
        Metric("workspace", "bytes", _memory("workspace_bytes"), _SOFTWARE, _GPU),
        Metric("op_count", "count", lambda record, convention: record.op_count, _SOFTWARE, _GPU),
    )
}
PLACE = ("device", "cores", "threads", "torch", "cuda", "upbench", "kernels")
"""What must agree before times, or outputs to the last bit, of two runs can be compared."""
LATENCY = Metric("latency", "seconds", lambda record, convention: None, PLACE)
DIGEST = Metric("output_digest", "digest", lambda record, convention: None, PLACE)
BUDGETED = {**EXACT, "latency": LATENCY}
ALL = {**BUDGETED, "output_digest": DIGEST}


def metric(name: str, known: dict[str, Metric]) -> Metric:
    """Raises SpecError naming the nearest and all known metrics."""
    if name == "output_digest" and name not in known:
        raise SpecError([f"metric {name!r} has no bounds; it is compared with a baseline (--baseline FILE)"])
    if name not in known:
        listed = ", ".join(known)
        raise SpecError([f"unknown metric {name!r}; known: {listed}{suggestion(name, known)}"])
    return known[name]


def amount(of: Metric, text: str) -> Amount:
    """'40k', '200MiB', '1.5ms' or '3x:bilinear'. Raises SpecError with what is allowed."""
    number, _, reference = text.strip().partition(":")
    match = _NUMBER.fullmatch(number.strip())
    if match and match[2] == "x" and reference.strip():
        return Amount(text.strip(), Fraction(match[1]), reference.strip())
    if match and not reference:
        factor = _factor(of.kind, match[2])
        if factor is not None:
            return Amount(text.strip(), Fraction(match[1]) * factor)
    raise SpecError([f"{text!r} is not a value of {of.key}; write {EXAMPLES[of.kind]}"])


def _factor(kind: Kind, unit: str) -> Fraction | None:
    """The factor of a unit. K is k; every other letter keeps its case, so that 'm' is never 'M'."""
    known = FACTORS[kind]
    for written in (unit, "k" + unit[1:] if unit[:1] == "K" else unit):
        if written in known:
            return known[written]
    return None


def tolerance(text: str) -> Fraction | None:
    """'1%' -> 1/100; 'off' -> None, not compared at all. Raises SpecError for anything else."""
    if text.strip() == "off":
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text.strip())
    if not match:
        raise SpecError([f"{text!r} is not a tolerance; write a percentage, as 1%, or off"])
    return Fraction(match[1]) / 100
