"""How a count becomes a printed figure. A printed figure is known to half a unit of its last place, no better."""

from __future__ import annotations

NEAREST = "nearest"
"""Rounding to the nearest multiple of the last printed place."""
TRUNCATED = "truncated"
"""Dropping the digits beyond the last printed place."""
TWICE = "rounded twice"
"""Rounding to one more place first, and then again."""
RAISED = "raised to one unit of the last place"
"""Printing as one unit of the last place what would be printed as zero."""
ODD = (TRUNCATED, TWICE, RAISED)
"""The roundings other than to nearest."""


def agrees(value: int, figure: int, step: int, rounding: str) -> bool:
    """Return whether a value is printed as a figure by some rounding.

    Args:
        value: The exact value.
        figure: The printed figure as a number.
        step: One unit of the last printed place.
        rounding: NEAREST, within half a step, where exactly half a step may go either way; TRUNCATED; TWICE, halves up;
            or RAISED.

    Raises:
        ValueError: There is no such rounding.
    """
    if rounding == NEAREST:
        return 2 * abs(value - figure) <= step
    if rounding == TRUNCATED:
        return value // step * step == figure
    if rounding == RAISED:
        return 0 < 2 * value < step == figure
    if rounding == TWICE:
        return step % 10 == 0 and _up(_up(value, step // 10), step) == figure
    raise ValueError(f"no such rounding: {rounding}")


def odd(value: int, figure: int, step: int) -> str | None:
    """Return the odd rounding that prints a value as a figure.

    Args:
        value: The exact value.
        figure: The printed one, in the same unit.
        step: One unit of its last digit.

    Returns:
        The name of the rounding; None where none does.
    """
    return next((name for name in ODD if agrees(value, figure, step, name)), None)


def _up(value: int, step: int) -> int:
    """To the nearest multiple of step, halves up."""
    return (2 * value + step) // (2 * step) * step
