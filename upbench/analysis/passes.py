"""Ratios of latencies from several passes over the same cells, with intervals that hold what happens between passes.

In a pass every cell is timed in interleaved rounds with a reference call, in a block of a few cells. What a block says
of a cell is its *level*: the interquartile mean over rounds of the log of its time over the reference's. Passes are
repetitions that share nothing but the code: the spread of levels over passes is the uncertainty. Two cells are compared
by the difference of their levels in the same passes, never by two intervals.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from upbench.analysis import stats
from upbench.analysis.stats import Ratio, Verdict
from upbench.analysis.student import two_sided_quantile

PRIOR_DF = 8
"""Degrees of freedom that the other cells lend to the variance of a cell (the moderated t of Smyth 2004)."""
ENOUGH_PASSES = 3
"""Passes from which on a cell counts as measured. With fewer there is a value, but no interval and no verdict."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PassRatio:
    """A ratio of latencies with its 95 % interval over passes; low and high are None below ENOUGH_PASSES."""

    value: float
    low: float | None
    high: float | None
    passes: int

    @property
    def half_width(self) -> float | None:
        """Half the interval as a part of the ratio."""
        if self.low is None or self.high is None:
            return None
        return (self.high - self.low) / 2 / self.value

    def verdict(self, resolution: float = 0.0) -> Verdict:
        """Return what the ratio says of the latency in its numerator, by the rule of every comparison.

        Args:
            resolution: The smallest difference that the passes resolve, as a part of 1; see `stats.verdict`.
        """
        if self.low is None or self.high is None:
            return Verdict.UNSURE
        return stats.verdict(Ratio(self.value, self.low, self.high, self.passes), resolution)

    def told_apart(self, resolution: float = 0.0) -> bool:
        """Return whether the two latencies differ: the verdict is FASTER or SLOWER."""
        return self.verdict(resolution) in (Verdict.FASTER, Verdict.SLOWER)


def interquartile_mean(values: Sequence[float] | Floats) -> float:
    """Mean of the middle half; values at its ends count with the part of them that lies within.

    Raises:
        ValueError: There are no values.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    if (n := ordered.size) == 0:
        raise ValueError("no values")
    starts = np.arange(n)
    weights = np.clip(np.minimum(starts + 1, 0.75 * n) - np.maximum(starts, 0.25 * n), 0, None)
    return float(weights @ ordered / weights.sum())


def level(samples_s: Sequence[float], reference_s: Sequence[float], per_round: int = 2) -> float:
    """Return the level of a cell in a pass: what its rounds say of the log of its latency over the reference's.

    Args:
        samples_s: Seconds of the cell, `per_round` of them a round.
        reference_s: Seconds of the reference in the same rounds.
        per_round: Samples of each in a round.

    Raises:
        ValueError: There is no complete round.
    """
    rounds = min(len(samples_s), len(reference_s)) // per_round
    shape = (rounds, per_round)
    top, bottom = (
        np.asarray(s[: rounds * per_round], dtype=float).reshape(shape).sum(1) for s in (samples_s, reference_s)
    )
    return interquartile_mean(np.log(top / bottom))


class Levels:
    """The levels of cells that were measured against one reference.

    Args:
        levels: [cells, passes], NaN where a cell has no measurement in a pass.
        blocks: [cells, passes] whole numbers, the block in which a cell was measured; cells of one block were timed in
            rounds with the same calls of the reference. Of no meaning where the level is NaN.
        reference: The row of the reference itself, where it is one of the cells; its levels are taken as 0.
    """

    def __init__(self, levels: Floats, blocks: NDArray[np.int64], reference: int | None = None) -> None:
        self.levels = np.array(levels, dtype=float)
        self.measured = ~np.isnan(self.levels)
        self.reference = reference
        self.blocks = np.full(self.levels.shape, -1, dtype=np.int64)
        self.blocks[self.measured] = np.unique(np.asarray(blocks)[self.measured], return_inverse=True)[1].ravel()
        if reference is not None:
            self.levels[reference], self.measured[reference], self.blocks[reference] = 0.0, True, -1

    def passes(self, cell: int) -> int:
        """In how many passes a cell was measured."""
        return int(self.measured[cell].sum())

    def ratio(self, cell: int) -> PassRatio | None:
        """Return the latency of a cell over the reference's, 1 for the reference; None when it was never measured."""
        if cell == self.reference:
            return PassRatio(1.0, 1.0, 1.0, self.passes(cell))
        return self.contrast({cell: 1.0})

    def pair(self, cell: int, other: int) -> PassRatio | None:
        """Return the latency of a cell over another's, from the passes that have both; None when none has."""
        return PassRatio(1.0, 1.0, 1.0, self.passes(cell)) if cell == other else self.contrast({cell: 1.0, other: -1.0})

    def verdicts(self, cells: NDArray[np.int64], other: int, resolutions: Floats) -> list[Verdict]:
        """Return what `pair` says of many cells against another one, at once.

        Args:
            cells: The rows of the cells, [N], without `other` among them.
            other: The row of the cell that they are set against.
            resolutions: For each what the passes resolve, as a part of 1, [N].
        """
        have = self.measured[cells] & self.measured[other]
        n = have.sum(1)
        prior = np.minimum(PRIOR_DF, np.maximum(0, self._noise.df - (n - 1)))
        df = prior + n - 1
        able = (n >= ENOUGH_PASSES) & (df >= 1)
        count, sums = np.maximum(n, 1), np.where(have, self.levels[cells] - self.levels[other], 0.0)
        mean = sums.sum(1) / count
        own = (np.where(have, sums - mean[:, None], 0.0) ** 2).sum(1) / np.maximum(n - 1, 1)
        timed = (cells != self.reference).astype(int) + (other != self.reference)
        apart = have & ((self.blocks[cells] != self.blocks[other]) | (timed[:, None] < 2))
        lent = self._noise.cell * timed + self._noise.reference * timed * apart.sum(1) / count
        t = np.array(
            [two_sided_quantile(int(one)) if one >= 1 else np.nan for one in range(int(df.max(initial=0)) + 1)]
        )
        half = t[np.maximum(df, 0)] * np.sqrt((prior * lent + (n - 1) * own) / np.maximum(df, 1) / count)
        half[~able] = np.nan
        return stats.verdicts(np.exp(mean), np.exp(mean - half), np.exp(mean + half), resolutions)

    def effect(self, pairs: Iterable[tuple[int, int]]) -> PassRatio | None:
        """Return the geometric mean over pairs of cells of the first one's latency over the second's.

        All pairs are taken from the same passes. They are looked at from the one with the most passes on, and one that
        would leave fewer than ENOUGH_PASSES for all is left out. None when no pair was measured.
        """
        kept: list[tuple[int, int]] = []
        together = np.ones(self.levels.shape[1], dtype=bool)
        common = [(pair, self.measured[pair[0]] & self.measured[pair[1]]) for pair in pairs]
        for pair, have in sorted(common, key=lambda item: -int(item[1].sum())):
            if (both := together & have).sum() >= min(ENOUGH_PASSES, together.sum()) and both.any():
                kept.append(pair)
                together = both
        weights: dict[int, float] = {}
        for cell, other in kept:
            weights[cell] = weights.get(cell, 0.0) + 1 / len(kept)
            weights[other] = weights.get(other, 0.0) - 1 / len(kept)
        return self.contrast(weights) if kept else None

    def contrast(self, weights: Mapping[int, float]) -> PassRatio | None:
        """Return exp of the weighted sum of levels, from the passes that have all the cells; None when none has.

        The variance is that of the sum over passes, moderated by the one that all cells show together.
        """
        cells = [cell for cell, weight in weights.items() if weight and cell != self.reference]
        if not cells:
            return None
        share = np.array([weights[cell] for cell in cells])
        columns = np.nonzero(self.measured[cells].all(axis=0))[0]
        if columns.size == 0:
            return None
        sums = share @ self.levels[cells][:, columns]
        n, mean = columns.size, float(sums.mean())
        value = math.exp(mean)
        prior_df = min(PRIOR_DF, max(0, self._noise.df - (n - 1)))
        df = prior_df + n - 1
        if n < ENOUGH_PASSES or df < 1:
            return PassRatio(value, None, None, n)
        lent = self._lent(cells, share, columns)
        own = float(sums.var(ddof=1))
        half = two_sided_quantile(df) * math.sqrt((prior_df * lent + (n - 1) * own) / df / n)
        return PassRatio(value, math.exp(mean - half), math.exp(mean + half), n)

    def _lent(self, cells: Sequence[int], share: Floats, columns: NDArray[np.int64]) -> float:
        """Variance of a weighted sum of levels in a pass, as all cells together show it.

        A block's reference is in the level of every cell of the block: between two of one block it cancels.
        """
        found = []
        for column in columns:
            _, block = np.unique(self.blocks[cells, column], return_inverse=True)
            of_references = float((np.bincount(block.ravel(), weights=share) ** 2).sum())
            found.append(self._noise.cell * float(share @ share) + self._noise.reference * of_references)
        return sum(found) / len(found)

    @cached_property
    def _noise(self) -> _Noise:
        """The variances of log times in a pass, from residuals of the model: level = cell - reference of the block.

        That of the reference is moderated by that of the cells, since a small sweep has few blocks to show it.
        """
        rows, columns = np.nonzero(self.measured)
        kept = rows != self.reference if self.reference is not None else np.ones(rows.size, dtype=bool)
        rows, columns = rows[kept], columns[kept]
        if rows.size == 0:
            return _Noise(0.0, 0.0, 0)
        level, block = self.levels[rows, columns], self.blocks[rows, columns]
        full = np.bincount(block)[block] > 1  # one cell alone says nothing of the noise within a block
        within, df = _residual(level[full], rows[full], block[full])
        in_all, df_in_all = _residual(level, rows)
        if df < 1:  # as if the reference were as noisy as any cell
            return _Noise(in_all / 2, in_all / 2, df_in_all)
        blocks = np.unique(block).size
        df_reference = max(0, blocks - round(blocks / np.unique(columns).size))
        seen = max(0.0, in_all - within)
        return _Noise(within, (PRIOR_DF * within + df_reference * seen) / (PRIOR_DF + df_reference), df)


@dataclass(frozen=True)
class _Noise:
    """Variances of the log time of a cell, and of the reference, in a pass; df: degrees of freedom of the first."""

    cell: float
    reference: float
    df: int


def _residual(values: Floats, *groups: NDArray[np.int64]) -> tuple[float, int]:
    """Variance of values once the means of these groups are taken out together, with its degrees of freedom.

    Least squares by alternate means. Groups that fall apart into several unconnected parts have a few degrees more than
    is said, so that the variance is rather too large.
    """
    if values.size == 0:
        return 0.0, 0
    named = [np.unique(group, return_inverse=True)[1].ravel() for group in groups]
    sizes = [np.bincount(group) for group in named]
    df = values.size - sum(size.size for size in sizes) + len(groups) - 1
    rest = values
    for _ in range(200):
        before = rest
        for group, size in zip(named, sizes, strict=True):
            rest = rest - (np.bincount(group, weights=rest) / size)[group]
        if np.abs(rest - before).max() <= 1e-9:
            break
    return (float(rest @ rest) / df if df > 0 else 0.0), max(df, 0)
