"""Which values of a column are the best and the second best, among cells that may be compared."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Literal

from upbench.report.formats.table import Rank


def ranks(
    values: Sequence[float | None],
    texts: Sequence[str],
    peers: Sequence[Hashable],
    better: Literal["lower", "higher"],
) -> list[Rank]:
    """Return the rank of each value among those with equal peers.

    Values that are shown by the same text are equal, so that ties are both best. Where all are equal none is.

    Args:
        values: The values of one column; None has no rank.
        texts: The values as they are shown.
        peers: What must be equal before two values are ranked against each other.
        better: Whether the lower or the higher value is the better one.
    """
    by_row = [Rank.none] * len(values)
    for peer in dict.fromkeys(peers):
        sign = 1 if better == "lower" else -1
        known = [(sign * v, n) for n, v in enumerate(values) if v is not None and peers[n] == peer]
        order = list(dict.fromkeys(texts[n] for _, n in sorted(known)))
        if len(order) < 2:
            continue
        for _, n in known:
            by_row[n] = Rank(position + 1) if (position := order.index(texts[n])) < 2 else Rank.none
    return by_row


def ranks_told_apart(
    values: Sequence[float | None], peers: Sequence[Hashable], told_apart: Callable[[int, int], bool]
) -> list[Rank]:
    """Return the rank of each latency: all that are not told apart from the best are best, and so on for the second best.

    Where none is told apart from the best, none is the best.

    Args:
        values: The latencies; None has no rank.
        peers: What must be equal before two of them are ranked against each other.
        told_apart: Whether two of them, by their places, differ by the rule of verdicts.
    """
    by_row = [Rank.none] * len(values)
    for peer in dict.fromkeys(peers):
        left = [n for _, n in sorted((v, n) for n, v in enumerate(values) if v is not None and peers[n] == peer)]
        if not any(told_apart(left[0], n) for n in left[1:]):
            continue
        for rank in (Rank(1), Rank(2)):
            together = [n for n in left if n == left[0] or not told_apart(left[0], n)]
            left = [n for n in left if n not in together]
            for n in together:
                by_row[n] = rank
    return by_row
