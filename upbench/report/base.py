"""The row that differences are taken to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import yaml

from upbench.errors import UpbenchError, unknown
from upbench.record import Record
from upbench.report import foot, place
from upbench.report.columns import Column

Base = Callable[[Record], Record | None]
"""The row that a record's differences are taken to: itself for the base row, None where there is none."""

UNDECIDED = (
    "no difference of latency is established: between these samples, or beside what the machine can resolve, it may be "
    "chance (verdict SAME or UNSURE)"
)


def parse(text: str, records: Sequence[Record], axes: Sequence[str]) -> Base:
    """The base in AXIS=VALUE[,AXIS=VALUE], or the label of a row.

    With AXIS=VALUE the base of a row is the one that has these values, and the row's own values of the other axes.
    It is of the same machine and, where rows differ in more than axes, alike in that. Raises UnknownName for an axis,
    a value or a label that is not there.
    """
    context = place.context(records, axes)

    def alike(record: Record) -> tuple[Any, ...]:
        return place.machine(record, axes), tuple(str(c.raw(record)) for c in context if c.key != "label")

    if "=" not in text or any(text == r.label for r in records):
        hits = [r for r in records if text == r.label or text in map(str, r.axes.values())]
        if not hits:
            raise unknown("base row", text, dict.fromkeys(r.label for r in records))
        if len({repr(sorted(r.axes.items(), key=str)) for r in hits}) > 1:
            raise UpbenchError(
                f"--base {text} is {len(hits)} rows; name one by its axes, as --base "
                + ",".join(f"{k}={v}" for k, v in hits[0].axes.items())
            )
        return lambda record: next((hit for hit in hits if alike(hit) == alike(record)), None)

    asked = _asked(text, records, axes)

    def base(record: Record) -> Record | None:
        wanted = {name: str(record.axes.get(name)) for name in axes} | asked
        same = (r for r in records if {name: str(r.axes.get(name)) for name in axes} == wanted)
        return next((r for r in same if alike(r) == alike(record)), None)

    return base


def _asked(text: str, records: Sequence[Record], axes: Sequence[str]) -> dict[str, str]:
    asked: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value:
            raise UpbenchError(f"--base {part!r} is not AXIS=VALUE; write --base {axes[0] if axes else 'theta'}=...")
        if name not in axes:
            raise unknown("axis", name, axes)
        known = dict.fromkeys(str(r.axes.get(name)) for r in records)
        found = value if value in known else str(yaml.safe_load(value))
        if found not in known:
            raise unknown(f"value of {name}", value, known)
        asked[name] = found
    return asked


def difference(column: Column, record: Record, base: Record) -> float | None:
    """The raw difference of a column to the base row; None where either has no value."""
    value, other = column.raw(record), column.raw(base)
    return None if value is None or other is None else value - other


def origin(text: str | None, records: Sequence[Record], axes: Sequence[str]) -> Base:
    """The base that --base names; without it no row has one."""
    return parse(text, records, axes) if text is not None else lambda record: None


def remark(column: Column, record: Record, base: Record | None) -> str | None:
    """What must be said about a cell of a table of differences: that it is none, or that it may be chance."""
    if base is record or column.delta is None or column.raw(record) is None:
        return None
    if base is None:
        return "in full, not a difference: there is no base row for it"
    if column.raw(base) is None:
        return "in full, not a difference: the base row has no value"
    return UNDECIDED if undecided(column, record, base) else None


def undecided(column: Column, record: Record, base: Record) -> bool:
    """Whether the latency of a row and of its base cannot be told apart."""
    return column.timed and bool(record.latency and base.latency) and not foot.told_apart(record, base)
