"""How a quantity grows with size: power laws fitted in logarithms, and the sizes at which two of them cross."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120)
"""97.5 % quantiles of Student's t for 1, 2, ... degrees of freedom (Abramowitz and Stegun 1972, table 26.10)."""


@dataclass(frozen=True)
class PowerLaw:
    """The fitted law y = exp(intercept) * x ** exponent.

    Args:
        exponent: Exponent of x.
        intercept: Natural logarithm of y at x = 1.
        low: Lower end of the 95 % interval of the exponent; None with fewer than 3 sizes.
        high: Upper end of that interval.
        first: The smallest x of the fit.
        last: The largest x of the fit.
        sizes: Number of different x.
    """

    exponent: float
    intercept: float
    low: float | None
    high: float | None
    first: float
    last: float
    sizes: int

    def at(self, x: float) -> float:
        """Return the fitted y at x, which must be above 0."""
        return math.exp(self.intercept + self.exponent * math.log(x))


@dataclass(frozen=True)
class Crossing:
    """The point at which two power laws meet: the one that is lower below `x` is the higher one above it.

    Args:
        x: Size at which they meet.
        y: Value of both there.
        inside: Whether x lies within the sizes that both were fitted on; elsewhere it is extrapolated.
    """

    x: float
    y: float
    inside: bool


def t_quantile(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t.

    Args:
        freedom: Degrees of freedom, at least 1; beyond 16 the expansion of Cornish and Fisher (1938) is used.

    Raises:
        ValueError: If there are no degrees of freedom.
    """
    if freedom < 1:
        raise ValueError("no degrees of freedom")
    if freedom <= len(_T):
        return _T[freedom - 1]
    z = 1.959964
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def power_law(x: Sequence[float], y: Sequence[float]) -> PowerLaw | None:
    """Fit a power law by least squares in logarithms.

    The interval is that of the slope under normal residuals, so that a bend in the data widens it.

    Args:
        x: Sizes.
        y: The quantity at each size.

    Returns:
        The law; None where fewer than two sizes are different or a value is not above 0.

    Raises:
        ValueError: If x and y differ in length.
    """
    if len(x) != len(y):
        raise ValueError("x and y differ in length")
    sizes = len(set(x))
    if sizes < 2 or min(x) <= 0 or min(y) <= 0:
        return None
    log_x, log_y = np.log(np.asarray(x, dtype=float)), np.log(np.asarray(y, dtype=float))
    spread = float(np.sum((log_x - log_x.mean()) ** 2))
    exponent = float(np.sum((log_x - log_x.mean()) * (log_y - log_y.mean()))) / spread
    intercept = float(log_y.mean()) - exponent * float(log_x.mean())
    low = high = None
    freedom = len(x) - 2
    if sizes >= 3:
        residual = float(np.sum((log_y - intercept - exponent * log_x) ** 2))
        half = t_quantile(freedom) * math.sqrt(residual / freedom / spread)
        low, high = exponent - half, exponent + half
    return PowerLaw(exponent, intercept, low, high, float(min(x)), float(max(x)), sizes)


def crossing(a: PowerLaw, b: PowerLaw, reach: float = 4.0) -> Crossing | None:
    """Return the point at which two laws meet.

    Args:
        a: One law.
        b: The other law.
        reach: Factor by which the point may lie beyond the sizes that both were fitted on.

    Returns:
        The point; None for laws that are parallel, that meet further out, or that have no sizes in common.
    """
    first, last = max(a.first, b.first), min(a.last, b.last)
    steepness = a.exponent - b.exponent
    if steepness == 0 or first > last:
        return None
    log_x = (b.intercept - a.intercept) / steepness
    if not math.log(first / reach) <= log_x <= math.log(last * reach):
        return None
    x = math.exp(log_x)
    return Crossing(x, a.at(x), first <= x <= last)
