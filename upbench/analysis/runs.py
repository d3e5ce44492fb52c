"""What repeated runs of a cell, as trainings with several seeds, say of the difference between cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from upbench.analysis import student


@dataclass(frozen=True)
class Runs:
    """Some runs of one cell.

    Args:
        sd: Standard deviation over the runs (n - 1).
        number: Number of runs, at least 2.
    """

    sd: float
    number: int

    @property
    def variance(self) -> float:
        """The squared standard error of their mean."""
        return self.sd**2 / self.number


def half_width(pairs: Sequence[tuple[Runs, Runs]]) -> float:
    """Return half the width of the 95 % interval of a difference of means, averaged over pairs of cells.

    The cells of the pairs are taken as independent, and their variances as unequal. The degrees of freedom are rounded
    down, which makes the interval wider.

    Args:
        pairs: For each pair the runs of both cells.

    Source: Welch 1947, with the degrees of freedom of Satterthwaite 1946.
    """
    every = [runs for pair in pairs for runs in pair]
    total = math.fsum(runs.variance for runs in every)
    if total == 0:
        return 0.0
    freedom = total**2 / math.fsum(runs.variance**2 / (runs.number - 1) for runs in every)
    return student.two_sided_quantile(max(1, int(freedom * (1 + 1e-12)))) * math.sqrt(total) / len(pairs)
