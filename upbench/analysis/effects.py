"""What each axis of a sweep does to each metric, and which cells no other cell beats: pure functions of numbers.

A cell is its place in the grid (axis -> value) with its metrics. A metric that is counted is one number; one that is
timed is its samples, whose noise becomes the interval. Samples of different cells are taken in different minutes:
their intervals hold the noise within a cell, not the drift between cells, for which the noise floor of the machine
(the argument `resolution`) stands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from upbench.analysis import stats
from upbench.analysis.stats import Ratio, Verdict

RESAMPLES = 1000
"""Number of bootstrap resamples."""
SPREADS = 256
"""Cells whose resamples are kept while an axis is looked at."""
Key = tuple[Hashable, ...]
"""The (axis, value) pairs of a cell, without one axis."""
Better = Literal["lower", "higher"]
"""The direction in which a metric improves."""


@dataclass(frozen=True)
class Effect:
    """The effect of a level of an axis on one metric, against the reference level, all other axes equal.

    The ratios are None where a value is 0 or below.

    Args:
        axis: Name of the axis.
        level: The level whose effect this is.
        reference: The level it is compared with.
        pairs: Number of pairs of cells that differ in this axis only.
        difference: Mean over the pairs of value - partner's value, in the unit of the metric.
        ratio: Geometric mean over the pairs of value / partner's value.
        low: Lower end of the 95 % interval of the ratio; the ratio itself where the metric is counted.
        high: Upper end of that interval.
        least: The smallest ratio of a single pair. Where it differs much from `most`, the axis acts differently at
            different values of the other axes.
        most: The largest ratio of a single pair.
        exact: Whether the metric is counted, not timed.
        difference_low: Lower end of the 95 % interval of the difference; None where nothing is known of its spread.
        difference_high: Upper end of that interval.
    """

    axis: str
    level: Hashable
    reference: Hashable
    pairs: int
    difference: float
    ratio: float | None
    low: float | None
    high: float | None
    least: float | None
    most: float | None
    exact: bool
    difference_low: float | None = None
    difference_high: float | None = None


def unpaired_ratio(samples: Sequence[float], reference: Sequence[float]) -> Ratio:
    """Return the ratio of the medians of two runs with its bootstrap interval; each run is resampled on its own.

    Args:
        samples: Samples of the run in the numerator.
        reference: Samples of the run in the denominator, in the same unit.

    Returns:
        The ratio. Its `rounds` are the number of samples of the shorter run.

    Raises:
        ValueError: If a run has no samples.
    """
    # Two seeds: with one, equally long runs would be resampled alike and the noise of one would cancel that of the other.
    drawn = _medians(samples, 0) / _medians(reference, 1)
    value = float(np.median(samples)) / float(np.median(reference))
    return Ratio(value, *_ends(drawn), min(len(samples), len(reference)))


def _medians(samples: Sequence[float], seed: int) -> NDArray[np.float64]:
    """Medians of RESAMPLES bootstrap resamples; as many copies of the median where there is one sample."""
    values = np.asarray(samples, dtype=float)
    if values.size == 0:
        raise ValueError("no samples")
    picks = np.random.default_rng(seed).integers(values.size, size=(RESAMPLES, values.size))
    return np.asarray(np.median(values[picks], axis=1))


def _ends(drawn: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % percentile interval; as np.quantile gives it, without the time that it takes to begin."""
    places = [(drawn.size - 1) * part for part in (0.025, 0.975)]
    around = sorted({math.floor(p) for p in places} | {math.ceil(p) for p in places})
    ordered = np.partition(drawn, around)
    low, high = (
        float(ordered[math.floor(p)] + (ordered[math.ceil(p)] - ordered[math.floor(p)]) * (p % 1)) for p in places
    )
    return low, high


def partners(cells: Sequence[Mapping[str, Hashable]], axis: str) -> dict[Key, dict[Hashable, int]]:
    """Group cells that differ in one axis only.

    Args:
        cells: Axis -> value of every cell.
        axis: The axis in which the cells of a group differ. Cells without it are left out.

    Returns:
        The values of all other axes -> level of `axis` -> index of the cell.
    """
    found: dict[Key, dict[Hashable, int]] = {}
    for n, cell in enumerate(cells):
        if axis in cell:
            rest = tuple((name, value) for name, value in cell.items() if name != axis)
            found.setdefault(rest, {})[cell[axis]] = n
    return found


def is_full(cells: Sequence[Mapping[str, Hashable]]) -> bool:
    """Return whether the cells are a full grid: every level of every axis with every level of the others.

    Args:
        cells: Axis -> value of every cell.
    """
    names = list(dict.fromkeys(name for cell in cells for name in cell))
    if any(set(cell) != set(names) for cell in cells):
        return False
    levels = [len({cell[name] for cell in cells}) for name in names]
    return len({tuple(cell[name] for name in names) for cell in cells}) == math.prod(levels)


def reference_level(cells: Sequence[Mapping[str, Hashable]], axis: str) -> Hashable:
    """Return the level that effects are taken against: that with the most partners, then the most cells, then the first.

    In a full grid that is the first level; in a sweep around a base it is the level of the base.

    Args:
        cells: Axis -> value of every cell.
        axis: Name of the axis.
    """
    levels = dict.fromkeys(cell[axis] for cell in cells if axis in cell)
    families = partners(cells, axis).values()
    count = {level: sum(level in family for family in families) for level in levels}
    pairs = {level: sum(len(family) - 1 for family in families if level in family) for level in levels}
    return max(levels, key=lambda level: (pairs[level], count[level]))


def pairs_of(
    cells: Sequence[Mapping[str, Hashable]], axis: str, reference: Hashable, known: Sequence[bool]
) -> dict[Hashable, list[tuple[int, int]]]:
    """Return for each other level of an axis its cells and their partners at the reference level, by their indices.

    Args:
        cells: Axis -> value of every cell.
        axis: Name of the axis.
        reference: The level that the others are compared with.
        known: Whether each cell has a value; others are in no pair.
    """
    pairs: dict[Hashable, list[tuple[int, int]]] = {}
    for family in partners(cells, axis).values():
        base = family.get(reference)
        if base is None or not known[base]:
            continue
        for level, n in family.items():
            if level != reference and known[n]:
                pairs.setdefault(level, []).append((n, base))
    return pairs


def main_effects(
    cells: Sequence[Mapping[str, Hashable]],
    values: Sequence[float | None] | Sequence[Sequence[float] | None],
    axis: str,
    reference: Hashable,
) -> list[Effect]:
    """Return the effect of each other level of an axis on one metric, in the order of the cells.

    Each cell is compared with the one that differs from it in this axis only and has the reference level; their
    log-ratios are averaged. In a full grid that is the average over all settings of the other axes; in a sweep around
    a base it is the effect at the base. A level without a pair is left out.

    Args:
        cells: Axis -> value of every cell.
        values: One number a cell where the metric is counted, its samples where it is timed; None where a cell has none.
        axis: Name of the axis.
        reference: The level that the others are compared with.
    """
    middle: list[float | None] = []
    exact = True
    for value in values:
        if value is None or isinstance(value, int | float):
            middle.append(value)
            continue
        exact = False
        middle.append(float(np.median(value)))

    @lru_cache(maxsize=SPREADS)
    def spread(n: int) -> NDArray[np.float64]:
        return np.log(_medians(values[n], n))  # type: ignore[arg-type]  # asked only of cells with samples

    pairs = pairs_of(cells, axis, reference, [value is not None for value in middle])
    order = [level for level in dict.fromkeys(c[axis] for c in cells if axis in c) if level in pairs]
    return [_effect(axis, level, reference, pairs[level], middle, spread, exact) for level in order]


def _effect(
    axis: str,
    level: Hashable,
    reference: Hashable,
    pairs: Sequence[tuple[int, int]],
    middle: Sequence[float | None],
    spread: Callable[[int], NDArray[np.float64]],
    exact: bool,
) -> Effect:
    found = [
        (float(a), float(b)) for n, base in pairs if (a := middle[n]) is not None and (b := middle[base]) is not None
    ]
    difference = math.fsum(a - b for a, b in found) / len(found)
    if any(a <= 0 or b <= 0 for a, b in found):
        return Effect(axis, level, reference, len(found), difference, None, None, None, None, None, exact)
    logs = [math.log(a / b) for a, b in found]
    ratio = math.exp(math.fsum(logs) / len(logs))
    low = high = ratio
    if not exact:
        drawn = np.zeros(RESAMPLES)
        for n, base in pairs:
            drawn += (spread(n) - spread(base)) / len(pairs)
        low, high = (float(x) for x in np.exp(np.quantile(drawn, [0.025, 0.975])))
    return Effect(
        axis,
        level,
        reference,
        len(found),
        difference,
        ratio,
        low,
        high,
        math.exp(min(logs)),
        math.exp(max(logs)),
        exact,
    )


def verdict(effect: Effect, resolution: float | None) -> Verdict | None:
    """Return the verdict on an effect, by the rule of comparisons; None for a metric that is counted.

    Args:
        effect: The effect.
        resolution: Noise floor of the machine, as a part of 1; None counts as 0.
    """
    if effect.exact or effect.ratio is None or effect.low is None or effect.high is None:
        return None
    return stats.verdict(Ratio(effect.ratio, effect.low, effect.high, effect.pairs), resolution or 0.0)


@dataclass(frozen=True)
class Candidate:
    """A cell of which it is asked whether another one dominates it.

    Args:
        counted: Metric -> value of the metrics that are exact.
        timed: Metric -> samples of the metrics that are timed.
        peers: Key of the input and the machine; only cells with equal keys are compared.
    """

    counted: Mapping[str, float]
    timed: Mapping[str, Sequence[float]]
    peers: Hashable = None


def dominated_by(
    candidates: Sequence[Candidate], better: Mapping[str, Better], resolution: float | None
) -> list[list[int]]:
    """Return for each cell those that dominate it: no worse in every metric, and better in at least one.

    A timed metric is better only when the verdict is FASTER, and no worse also when it is SAME; UNSURE or SLOWER is
    enough not to dominate. The cells without an entry are the Pareto front: it is never empty, since around a circle
    of dominations all counted metrics would be equal, and times cannot fall all the way around.

    Args:
        candidates: The cells, all with the same metrics.
        better: Counted metric -> whether a lower or a higher value is better. Lower is better for every timed one.
        resolution: Noise floor of the machine, as a part of 1; None counts as 0.

    Returns:
        Of each cell the indices of the cells that dominate it.
    """
    runs = [
        {name: (float(np.median(values)), _medians(values, n), len(values)) for name, values in c.timed.items()}
        for n, c in enumerate(candidates)
    ]

    def timed(a: int, b: int, name: str) -> Verdict:
        (one, drawn, n), (two, other, m) = runs[a][name], runs[b][name]
        return stats.verdict(Ratio(one / two, *_ends(drawn / other), min(n, m)), resolution or 0.0)

    def dominates(a: int, b: int) -> bool:
        strictly = False
        for name, value in candidates[a].counted.items():
            other = candidates[b].counted[name]
            gain = other - value if better[name] == "lower" else value - other
            if gain < 0:
                return False
            strictly |= gain > 0
        for name in candidates[a].timed:
            said = timed(a, b, name)
            if said not in (Verdict.FASTER, Verdict.SAME):
                return False
            strictly |= said is Verdict.FASTER
        return strictly

    return [
        [a for a, one in enumerate(candidates) if a != b and one.peers == other.peers and dominates(a, b)]
        for b, other in enumerate(candidates)
    ]
