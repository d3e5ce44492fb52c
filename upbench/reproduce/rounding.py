"""How a count becomes a printed figure. A printed figure is known to half a unit of its last place, no better."""

from __future__ import annotations

NEAREST = "nearest"
TRUNCATED = "truncated"
TWICE = "rounded twice"
RAISED = "raised to one unit of the last place"
ODD = (TRUNCATED, TWICE, RAISED)


def agrees(value: int, figure: int, step: int, rounding: str) -> bool:
    """Whether `value`, rounded so, is printed as `figure`. step: one unit of the last printed place.

    nearest: within half a step; exactly half a step may go either way. truncated: the digits beyond are dropped.
    rounded twice: to one more place first, halves up, and then again. raised: an amount that would be printed as zero
    is printed as one unit of the last place.
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
    """The odd rounding that prints `value` as `figure`, or None."""
    return next((name for name in ODD if agrees(value, figure, step, name)), None)


def _up(value: int, step: int) -> int:
    """To the nearest multiple of step, halves up."""
    return (2 * value + step) // (2 * step) * step
