"""Which cells no other cell beats: the one rule behind every Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Literal

from upbench.analysis.stats import Verdict

Better = Literal["lower", "higher"]
Judge = Callable[[int, int], Verdict]
"""The verdict on one timed metric of a cell against another, by their numbers."""


def dominated_by(
    exact: Sequence[Mapping[str, float]],
    timed: Mapping[str, Judge],
    better: Mapping[str, Better],
    peers: Sequence[Hashable] | None = None,
) -> list[list[int]]:
    """For each cell the cells that dominate it: no worse in every metric, and better in at least one.

    A timed metric is better only where the verdict is FASTER, and no worse also where it is SAME. UNSURE is neither:
    what is not told apart does not dominate. The cells without an entry are the Pareto front. It is never empty: around
    a circle of dominations all exact metrics would be equal, and times cannot fall all the way around.

    Args:
        exact: For each cell its metrics that carry no noise, all cells with the same names.
        timed: For each metric with noise, what says of cell a against cell b which is faster.
        better: For each exact metric whether the lower or the higher value is the better one.
        peers: For each cell what must be equal for two cells to be set against each other (input, machine).
    """

    def dominates(a: int, b: int) -> bool:
        strictly = False
        for name, value in exact[a].items():
            gain = (exact[b][name] - value) * (1 if better[name] == "lower" else -1)
            if gain < 0:
                return False
            strictly |= gain > 0
        for judge in timed.values():
            said = judge(a, b)
            if said not in (Verdict.FASTER, Verdict.SAME):
                return False
            strictly |= said is Verdict.FASTER
        return strictly

    everyone = range(len(exact))
    return [
        [a for a in everyone if a != b and (peers is None or peers[a] == peers[b]) and dominates(a, b)]
        for b in everyone
    ]
