"""The only place where numbers are rounded, given K, M, G, ms or MiB, and read back. None is shown as a dash."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fractions import Fraction  # decimal and all, a twentieth of what `--help` takes to start

DASH = "-"


def count(value: int | None) -> str:
    """Write a count with a decimal prefix: 39410 -> "39.41K". Below 10000 it is written in full."""
    if value is None:
        return DASH
    if value < 10_000:
        return str(value)
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K")):
        if value >= factor:
            return f"{value / factor:.2f}{prefix}"
    raise AssertionError("unreachable: value is at least 10000")


def number_of(number: int | None, what: str) -> str:
    """Write a number of things: 1, "thread" -> "1 thread"; 2, "thread" -> "2 threads"."""
    return f"{exact(number)} {what}{'' if number == 1 else 's'}"


def rate(value: float | None) -> str:
    """Write a number of things a second with a decimal prefix: 12340000.0 -> "12.34M"."""
    return DASH if value is None else count(round(value))


def sum_of(base: int, added: int) -> str:
    """Write a sum in the prefix of its first part, as papers do: "46.84M + 0.20M = 47.04M"."""
    factor, prefix = next(
        ((f, p) for f, p in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K")) if base >= f), (1.0, "")
    )
    decimals = 2 if prefix else 0
    first, second, total = (f"{part / factor:.{decimals}f}{prefix}" for part in (base, added, base + added))
    return f"{first} + {second} = {total}"


def exact(value: int | None) -> str:
    """Write a count in full: 39410 -> "39410"."""
    return DASH if value is None else str(value)


def seconds(value: float | None) -> str:
    """Write a duration in seconds with three significant digits: 0.01234 -> "12.3 ms"."""
    if value is None:
        return DASH
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if abs(value) >= factor:
            return f"{_three(value / factor)} {unit}"
    return f"{_three(value / 1e-9)} ns"


def seconds_alike(values: Iterable[float]) -> Callable[[float], str]:
    """Return what writes durations below each other in one unit, that of the longest: 0.45, 0.0123 -> "450 ms", "12.3 ms".

    Args:
        values: All durations of the column, in seconds.
    """
    longest = max(map(abs, values), default=1.0)
    factor, unit = next((step for step in _SECOND_SCALES if longest >= step[0]), _SECOND_SCALES[-1])

    def text(value: float) -> str:
        size = abs(value / factor)
        return f"{_three(value / factor) if size >= 0.0995 or not size else f'{value / factor:.3f}'} {unit}"

    return text


def mebibytes(value: int | None) -> str:
    """Write a number of bytes in MiB: 355467264 -> "339.00 MiB"; below 0.1 MiB in bytes."""
    if value is None:
        return DASH
    return f"{value / 2**20:.2f} MiB" if value >= 2**20 / 10 or value == 0 else f"{value} B"


def ratio(value: float | None) -> str:
    """Write a ratio: 1.5 -> "1.50x", 0.0123 -> "0.012x"."""
    return DASH if value is None else f"{_three(value)}x"


def factor(value: float) -> str:
    """Write a factor in a sentence, with two digits or as many as tell it from 1: 2.71 -> "2.7", 1.042 -> "1.04", 0.0123 -> "0.012"."""
    if value < 0.0995:
        return _three(value)
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 1.15 else f"{value:.2f}"


def interval(low: float | None, high: float | None) -> str:
    """Write an interval of ratios: "1.48-1.52", "0.011-0.013"."""
    return DASH if low is None or high is None else f"{_three(low)}-{_three(high)}"


def percent(value: float | None) -> str:
    """Write a part of 1 as a percentage: 0.031 -> "3.1 %", 0.00042 -> "0.042 %"."""
    if value is None:
        return DASH
    return f"{100 * value:.1f} %" if abs(value) >= 0.001 or value == 0 else f"{100 * value:.2g} %"


def number(value: float | None, decimals: int | None = None) -> str:
    """Write a number as a paper prints it, with a number of decimals; without one, as short as possible."""
    return DASH if value is None else f"{value:g}" if decimals is None else f"{value:.{decimals}f}"


def delta(value: float | None) -> str:
    """Write a difference of counts as papers print it: 41000 -> "+41.0K", 1.7e9 -> "+1.7G". Below 1000 in full."""
    if value is None:
        return DASH
    if abs(value) < 999.5:
        return f"{value:+.0f}" if round(value) else "+0"
    steps = ((1e3, "K"), (1e6, "M"), (1e9, "G"), (1e12, "T"))
    factor, prefix = next((step for step in steps if abs(value) < 999.95 * step[0]), steps[-1])
    return f"{value / factor:+.1f}{prefix}"


def delta_seconds(value: float | None) -> str:
    """Write a difference of durations in seconds: 0.0031 -> "+3.10 ms"."""
    return DASH if value is None else signed(value, seconds(abs(value))) if value else "+0"


def delta_mebibytes(value: float | None) -> str:
    """Write a difference in bytes: 1048576 -> "+1.00 MiB"."""
    return DASH if value is None else signed(value, mebibytes(round(abs(value)))) if value else "+0"


def delta_number(value: float | None, decimals: int | None = None) -> str:
    """Write a difference of printed numbers: 1.7 -> "+1.7"."""
    if value is None:
        return DASH
    text = number(abs(value), decimals)
    return signed(value if float(text) else 0, text)


def signed(value: float, text: str) -> str:
    """Write the sign of a difference before the text of its size."""
    return f"{'-' if value < 0 else '+'}{text}"


def _three(value: float) -> str:
    """Three significant digits, without an exponent; two below 0.1."""
    size = abs(value)
    if 0 < size < 0.0995:
        rounded = f"{size:.1e}"
        return f"{value:.{1 - int(rounded[4:])}f}"
    return f"{value:.0f}" if size >= 99.95 else f"{value:.1f}" if size >= 9.995 else f"{value:.2f}"


def bytes_in_full(value: float | Fraction) -> str:
    """Write every byte: 1048577 -> "1048577 bytes (1.00 MiB)"."""
    more = f" ({mebibytes(int(value))})" if value >= 2**20 else ""
    return f"{_in_full(value)} byte{'' if value == 1 else 's'}{more}"


def _in_full(value: float | Fraction) -> str:
    return str(int(value)) if value == int(value) else f"{float(value):.2f}"


@dataclass(frozen=True)
class Unit:
    """One kind of measured number: how its values are printed, typed and drawn.

    Args:
        name: What it is called in the documentation.
        text: Prints a value as tables do, rounded.
        delta: Prints a difference with its sign.
        in_full: Prints every digit, for values that are compared exactly.
        factors: What may follow a typed number, and what that multiplies it by.
        example: What a user may type as a bound; empty where there is no bound.
        scales: Factor and name of the units that an axis may be labelled in, the largest first.
        numeric: Whether values can be ordered and drawn.
    """

    name: str
    text: Callable[[Any], str]
    delta: Callable[[Any], str] | None
    in_full: Callable[[Any], str]
    factors: Mapping[str, str]
    example: str
    scales: tuple[tuple[float, str], ...] = ((1, ""),)
    numeric: bool = True

    def parse(self, text: str) -> Fraction | None:
        """Read a typed value, as "40k", "1.5GiB" or "12ms".

        K is read as k. Every other letter keeps its case, so that m is never M.

        Returns:
            The value in SI base units; None where it is not of this unit.
        """
        from fractions import Fraction

        match = _NUMBER.fullmatch(text.strip())
        if match is None:
            return None
        suffix = match[2]
        for written in (suffix, "k" + suffix[1:] if suffix[:1] == "K" else suffix):
            if written in self.factors:
                return Fraction(match[1]) * Fraction(self.factors[written])
        return None


def plain(value: object) -> str:
    """Write a value unchanged; None as a dash."""
    return DASH if value is None else str(value)


_NUMBER = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([A-Za-z%]*)")
_THOUSANDS = {"": "1", "k": "1e3", "M": "1e6", "G": "1e9", "T": "1e12"}
_BYTES = {
    "": "1",
    "B": "1",
    **{f"{p}B": str(1000**n) for n, p in enumerate(("k", "M", "G"), 1)},
    **{f"{p}iB": str(1024**n) for n, p in enumerate(("K", "M", "G"), 1)},
}
_SECONDS = {"s": "1", "ms": "1e-3", "us": "1e-6"}
_COUNT_SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K"), (1, ""))
_BYTE_SCALES = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1, "B"))
_SECOND_SCALES = ((1, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))

COUNT = Unit(
    "count", count, delta, _in_full, _THOUSANDS, "40000, 40k, 1.2M, 3G or 2x:bilinear", _COUNT_SCALES
)  # fmt: skip
"""A number of things, rounded in tables: 39410 is shown as 39.41K."""
WHOLE = replace(COUNT, text=exact)
"""A number of things that tables show in full."""
BYTES = Unit(
    "bytes", mebibytes, delta_mebibytes, bytes_in_full, _BYTES, "1024, 200MiB, 1.5GiB, 200MB or 2x:bilinear",
    _BYTE_SCALES,
)  # fmt: skip
SECONDS = Unit(
    "seconds", seconds, delta_seconds, lambda value: seconds(float(value)), _SECONDS,
    "3x:bilinear, or 12ms, 0.5s, 900us", _SECOND_SCALES,
)  # fmt: skip
SHARE = Unit("share", percent, None, percent, {"": "1", "%": "1e-2"}, "0.5, 50% or 2x:bilinear", ((0.01, "%"),))
"""A part of 1."""
DIGEST = Unit("digest", plain, None, plain, {}, "", numeric=False)
"""A hash: equal or not, and nothing else."""


def spread(sd: float, decimals: int | None) -> str:
    """Write a standard deviation with the decimals of its value, or with one digit where these would make it 0."""
    text = number(sd, decimals)
    return text if sd == 0 or float(text) else f"{sd:.1g}"


def accuracy(name: str, decimals: int | None) -> Unit:
    """Return the unit of an accuracy.

    Args:
        name: As "percent" or "m"; empty for a number without a unit.
        decimals: Decimals that values are printed with; None for as few as possible.
    """
    sign = "%" if name == "percent" else name
    return Unit(
        name or "number",
        lambda value: number(value, decimals),
        lambda value: delta_number(value, decimals),
        lambda value: number(float(value)),
        {},
        "",
        ((1, sign),),
    )
