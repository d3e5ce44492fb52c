"""What names a row of a table: the axes that a reader asks for, and what else tells rows apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from upbench.errors import UpbenchError
from upbench.report.tables.columns import Column
from upbench.report.tables.result_set import ResultSet


def columns(results: ResultSet, shown: Sequence[Column], across: str | None = None) -> list[Column]:
    """Return the columns that name a row: the axes among those to be shown, or all where there is none, and the context.

    Args:
        results: The cells.
        shown: What was asked for.
        across: An axis whose values are columns.

    Raises:
        UpbenchError: Without an axis that is not shown rows would look alike.
    """
    named = [column for column in shown if column.axis and column.key != across]
    if not named:
        return [column for column in results.keys if column.key != across]
    keys = [*named, *results.context]
    left = [name for name in results.varying if name != across and all(name != column.key for column in named)]
    told = [*keys, *(column for column in shown if not column.numeric)]
    for group in results.groups if left else ():
        rows = Counter(str([*(c.raw(r) for c in told), r.axes.get(across or "")]) for r in group.records)
        if (alike := max(rows.values())) > 1:
            every = ",".join([*(column.key for column in named), *left])
            raise UpbenchError(
                f"--columns leaves out {' and '.join(left)}, without which {alike} rows look alike; write --columns "
                f"{every},..., or name no axis for all"
            )
    return keys
