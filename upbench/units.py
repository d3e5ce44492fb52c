"""The only place where numbers are rounded and given K, M, G, ms or MiB. None is shown as a dash."""

from __future__ import annotations

DASH = "-"


def count(value: int | None) -> str:
    """A count with a decimal prefix: 39410 -> '39.41K'. Below 10000, in full."""
    if value is None:
        return DASH
    if value < 10_000:
        return str(value)
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K")):
        if value >= factor:
            return f"{value / factor:.2f}{prefix}"
    raise AssertionError("unreachable: value is at least 10000")


def exact(value: int | None) -> str:
    """A count in full: 39410 -> '39410'."""
    return DASH if value is None else str(value)


def seconds(value: float | None) -> str:
    """A duration: 0.01234 -> '12.3 ms'. Three significant digits."""
    if value is None:
        return DASH
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if abs(value) >= factor:
            return f"{_three(value / factor)} {unit}"
    return f"{_three(value / 1e-9)} ns"


def mebibytes(value: int | None) -> str:
    """Bytes: 355467264 -> '339.00 MiB'; below 0.1 MiB in bytes."""
    if value is None:
        return DASH
    return f"{value / 2**20:.2f} MiB" if value >= 2**20 / 10 or value == 0 else f"{value} B"


def ratio(value: float | None) -> str:
    """A ratio: 1.5 -> '1.50x'."""
    return DASH if value is None else f"{_three(value)}x"


def interval(low: float | None, high: float | None) -> str:
    """An interval of ratios: '1.48-1.52'."""
    return DASH if low is None or high is None else f"{_three(low)}-{_three(high)}"


def percent(value: float | None) -> str:
    """A fraction as a percentage: 0.031 -> '3.1 %', 0.00042 -> '0.042 %'."""
    if value is None:
        return DASH
    return f"{100 * value:.1f} %" if abs(value) >= 0.001 or value == 0 else f"{100 * value:.2g} %"


def number(value: float | None, decimals: int | None = None) -> str:
    """A number as a paper prints it: 39.2 with one decimal; as short as it can be without."""
    return DASH if value is None else f"{value:g}" if decimals is None else f"{value:.{decimals}f}"


def delta(value: float | None) -> str:
    """A difference of counts as papers print it: 41000 -> '+41.0K', 1.7e9 -> '+1.7G'. Below 1000, in full."""
    if value is None:
        return DASH
    if abs(value) < 999.5:
        return f"{value:+.0f}" if round(value) else "+0"
    steps = ((1e3, "K"), (1e6, "M"), (1e9, "G"), (1e12, "T"))
    factor, prefix = next((step for step in steps if abs(value) < 999.95 * step[0]), steps[-1])
    return f"{value / factor:+.1f}{prefix}"


def delta_seconds(value: float | None) -> str:
    """A difference of durations: 0.0031 -> '+3.10 ms'."""
    return DASH if value is None else _signed(value, seconds(abs(value))) if value else "+0"


def delta_mebibytes(value: float | None) -> str:
    """A difference in bytes: 1048576 -> '+1.00 MiB'."""
    return DASH if value is None else _signed(value, mebibytes(round(abs(value)))) if value else "+0"


def delta_number(value: float | None, decimals: int | None = None) -> str:
    """A difference of printed numbers: 1.7 -> '+1.7'."""
    if value is None:
        return DASH
    text = number(abs(value), decimals)
    return _signed(value if float(text) else 0, text)


def _signed(value: float, text: str) -> str:
    return f"{'-' if value < 0 else '+'}{text}"


def _three(value: float) -> str:
    """Three significant digits, without an exponent."""
    size = abs(value)
    return f"{value:.0f}" if size >= 99.95 else f"{value:.1f}" if size >= 9.995 else f"{value:.2f}"
