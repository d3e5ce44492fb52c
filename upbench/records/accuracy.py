"""An accuracy of the model around an upsampler, as a user gives it or a paper printed it; never measured by upbench."""

from __future__ import annotations

from typing import Literal

from upbench.records.latency import Part

Origin = Literal["given", "published"]
"""Whose number it is: the user's own, or that of a published table."""


class Accuracy(Part):
    """One accuracy of a cell.

    Args:
        value: The value in its unit; the mean where it is of several runs.
        sd: Standard deviation over runs; null where it is not known.
        runs: Number of runs (seeds) that the value is the mean of; null where it is not known.
        unit: The unit, as "percent" or "m"; empty for a number without one.
        better: Which of two values is better.
        decimals: Decimals that it is printed with; null for as few as possible.
        origin: Whose number it is.
        source: The file, or the published table.
        doubt: Why the value is uncertain in print; null where it is not.
    """

    value: float
    sd: float | None = None
    runs: int | None = None
    unit: str = ""
    better: Literal["higher", "lower"] = "higher"
    decimals: int | None = None
    origin: Origin = "given"
    source: str = ""
    doubt: str | None = None
