"""What an upsampler is worth: accuracy that a user gives or a paper printed, or a proxy that `upbench quality` measured."""

from __future__ import annotations

from typing import Literal

from upbench.records.latency import Part

Origin = Literal["given", "published", "proxy"]
"""Whose number it is: the user's own, that of a published table, or that of a tiny network trained by upbench."""


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
