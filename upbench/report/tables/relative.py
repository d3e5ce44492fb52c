"""The base row of a table, which differences are taken to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import yaml

from upbench.errors import UpbenchError, unknown
from upbench.records.record import Record
from upbench.report.tables import grouping
from upbench.report.tables.columns import Column

if TYPE_CHECKING:
    from upbench.report.tables.result_set import ResultSet

UNDECIDED = "difference in latency within measurement uncertainty (verdict SAME or UNSURE)"
"""The footnote of a difference that may be chance."""

ALONE = "timed in a run of its own: no time here is set against it"
"""The footnote of a time beside others that were taken together."""


def parse(
    text: str, records: Sequence[Record], axes: Sequence[str], context: Sequence[Column]
) -> Callable[[Record, bool], Record | None]:
    """Return the function that gives the base row of each record, of any machine and run where its second argument is True.

    With AXIS=VALUE the base row of a record is the one that has these values, and the record's own values of the other
    axes. It is of the same machine and, where rows differ in more than axes, alike in that.

    Args:
        text: AXIS=VALUE[,AXIS=VALUE], or the label of a row.
        records: The rows of the table.
        axes: The axes of the sweep.
        context: The columns besides the axes that tell rows apart.

    Raises:
        UnknownName: The text names an axis, a value or a label that is not there.
        UpbenchError: A part of the text is not AXIS=VALUE, or its label is that of several rows.
    """

    def alike(record: Record, anywhere: bool) -> tuple[Any, ...]:
        return None if anywhere else grouping.machine_key(record, axes), tuple(
            str(c.raw(record)) for c in context if c.key != "label"
        )

    def cell(values: dict[str, str]) -> tuple[str, ...]:
        return tuple(values[name] for name in axes)

    if "=" not in text or any(text == r.label for r in records):
        labelled = [r for r in records if text == r.label or text in map(str, r.axes.values())]
        if not labelled:
            raise unknown("base row", text, dict.fromkeys(r.label for r in records))
        if len({repr(sorted(r.axes.items(), key=str)) for r in labelled}) > 1:
            raise UpbenchError(
                f"--base {text} is {len(labelled)} rows; name one by its axes, as --base "
                + ",".join(f"{k}={v}" for k, v in labelled[0].axes.items())
            )
        by_likeness: dict[tuple[Any, ...], Record] = {}
        for hit, anywhere in product(labelled, (False, True)):
            by_likeness.setdefault(alike(hit, anywhere), hit)
        return lambda record, anywhere: by_likeness.get(alike(record, anywhere))

    wanted = _wanted(text, records, axes)
    by_cell: dict[tuple[Any, ...], Record] = {}
    for record, anywhere in product(records, (False, True)):
        levels = {name: str(record.axes.get(name)) for name in axes}
        by_cell.setdefault((cell(levels), alike(record, anywhere)), record)

    def base(record: Record, anywhere: bool) -> Record | None:
        levels = {name: str(record.axes.get(name)) for name in axes}
        return by_cell.get((cell(levels | wanted), alike(record, anywhere)))

    return base


def _wanted(text: str, records: Sequence[Record], axes: Sequence[str]) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value:
            raise UpbenchError(f"--base {part!r} is not AXIS=VALUE; write --base {axes[0] if axes else 'theta'}=...")
        if name not in axes:
            raise unknown("axis", name, axes)
        known = dict.fromkeys(str(r.axes.get(name)) for r in records)
        level = value if value in known else str(yaml.safe_load(value))
        if level not in known:
            raise unknown(f"value of {name}", value, known)
        wanted[name] = level
    return wanted


def difference(column: Column, record: Record, base: Record) -> float | None:
    """Return the difference of a column to the base row.

    Args:
        column: The column.
        record: The row.
        base: The base row.

    Returns:
        The difference in the column's raw unit; None where either has no value.
    """
    value, base_value = column.raw(record), column.raw(base)
    return None if value is None or base_value is None else value - base_value


def remark(column: Column, record: Record, results: ResultSet) -> str | None:
    """Return the footnote of a cell whose number does not compare with the others, or is no difference.

    Args:
        column: The column of the cell.
        record: The row of the cell.
        results: The set of the table, which knows its base row.

    Returns:
        A sentence; None where there is nothing to say.
    """
    if column.raw(record) is None:
        return None
    if column.timed and results.timed_alone(record):
        return ALONE
    base = results.base_of(record, column)
    if results.base is None or base is record or column.delta is None:
        return None
    if base is None and results.base_of(record) is not None:
        return "in full, not a difference: the base row was measured in another run or elsewhere, and does not compare"
    if base is None:
        return "in full, not a difference: there is no base row for it"
    if column.raw(base) is None:
        return "in full, not a difference: the base row has no value"
    undecided = column.timed and record.latency and base.latency and not results.told_apart(record, base)
    return UNDECIDED if undecided else None
