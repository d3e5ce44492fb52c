"""Which cells no other cell beats: the one rule behind every Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np

from upbench.analysis.stats import Verdict

Better = Literal["lower", "higher"]
Judge = Callable[[Sequence[int], int], Sequence[Verdict]]
"""The verdicts on one timed metric of some cells against another one, by their numbers."""
NO_WORSE = (Verdict.FASTER, Verdict.SAME)


def dominated_by(
    exact: Sequence[Mapping[str, float]],
    timed: Mapping[str, Judge],
    better: Mapping[str, Better],
    peers: Sequence[Hashable] | None = None,
) -> list[list[int]]:
    """Return for each cell the cells that dominate it; see `dominators`.

    Args:
        exact: For each cell its metrics that carry no noise, all cells with the same names.
        timed: For each metric with noise, what says of some cells against another one which are faster.
        better: For each exact metric whether the lower or the higher value is the better one.
        peers: For each cell what must be equal for two cells to be set against each other (input, machine).
    """
    return list(dominators(exact, timed, better, peers))


def dominators(
    exact: Sequence[Mapping[str, float]],
    timed: Mapping[str, Judge],
    better: Mapping[str, Better],
    peers: Sequence[Hashable] | None = None,
) -> Iterator[list[int]]:
    """Yield for one cell after another those that dominate it: no worse in every metric, and better in at least one.

    A timed metric is better only where the verdict is FASTER, and no worse also where it is SAME. UNSURE is neither:
    what is not told apart does not dominate. The cells without an entry are the Pareto front. It is never empty: around
    a circle of dominations all exact metrics would be equal, and times cannot fall all the way around.

    Args:
        exact: For each cell its metrics that carry no noise, all cells with the same names.
        timed: For each metric with noise, what says of some cells against another one which are faster.
        better: For each exact metric whether the lower or the higher value is the better one.
        peers: For each cell what must be equal for two cells to be set against each other (input, machine).
    """
    if not exact:
        return
    signs = [1.0 if better[name] == "lower" else -1.0 for name in exact[0]]
    costs = np.array([[sign * one[name] for sign, name in zip(signs, exact[0], strict=True)] for one in exact])
    codes: dict[Hashable, int] = {}
    kind = np.array([codes.setdefault(peer, len(codes)) for peer in (peers or [None] * len(exact))])
    for b, cost in enumerate(costs):
        able = (kind == kind[b]) & (costs <= cost).all(axis=1)
        able[b] = False
        these = np.nonzero(able)[0]
        strictly = (costs[these] < cost).any(axis=1)
        for judge in timed.values():
            said = judge(these.tolist(), b)
            keep = np.array([one in NO_WORSE for one in said], dtype=bool)
            strictly |= np.array([one is Verdict.FASTER for one in said], dtype=bool)
            these, strictly = these[keep], strictly[keep]
        yield these[strictly].tolist()
