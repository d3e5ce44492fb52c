"""Which values of a column are the best and the second best, among cells that may be compared."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal

from upbench.report.formats.table import Rank


def ranks(
    values: Sequence[float | None],
    texts: Sequence[str],
    peers: Sequence[Hashable],
    better: Literal["lower", "higher"],
) -> list[Rank]:
    """The rank of each value among those with equal `peers`; None and the only one of its kind have none.

    Values that are shown by the same text are equal, so that ties are both best. Where all are equal nothing is.
    """
    found = [Rank.none] * len(values)
    for peer in dict.fromkeys(peers):
        sign = 1 if better == "lower" else -1
        known = [(sign * v, n) for n, v in enumerate(values) if v is not None and peers[n] == peer]
        order = list(dict.fromkeys(texts[n] for _, n in sorted(known)))
        if len(order) < 2:
            continue
        for _, n in known:
            found[n] = Rank(place + 1) if (place := order.index(texts[n])) < 2 else Rank.none
    return found
