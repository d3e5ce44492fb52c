"""What the pictures of a section draw: every result as a point with all of its values; the script lays them out."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html import escape
from typing import Any

from upbench import metrics
from upbench.records.record import Record
from upbench.report.plots import quantities, series
from upbench.report.plots.quantities import Point, Quantity
from upbench.report.tables import grouping
from upbench.report.tables.columns import Column
from upbench.report.tables.result_set import ResultSet

FIRST = ("latency", "peak-memory")
"""What the second picture shows at first, along and up."""


def places(results: ResultSet) -> str:
    """Return where the pictures go, each with the fields that choose what it shows.

    Args:
        results: The results of the section.
    """
    if not _points(results):
        return '<p class="none">No result of this section has a value that could be drawn.</p>'
    drawn = (
        ("along", (("metric", "Show"), ("axis", "along"))),
        ("against", (("x", "Show, along"), ("y", "and up"))),
    )
    return "\n".join(
        f'<figure class="picture" data-kind="{kind}"><figcaption class="controls">'
        + " ".join(f'<label>{text} <select data-picks="{key}"></select></label>' for key, text in fields)
        + '</figcaption><div class="plot"></div></figure>'
        for kind, fields in drawn
    )


def data(results: ResultSet) -> dict[str, Any]:
    """Return what the script draws: the quantities, the axes, and every result with its values in the units shown.

    Args:
        results: The results of the section.
    """
    points = _points(results)
    known = _quantities(results, points)
    axes = [name for name in results.varying if name != grouping.LABEL] or [grouping.LABEL]
    if grouping.LABEL in results.varying or _labels(results) > 1:
        axes = list(dict.fromkeys([*axes, grouping.LABEL]))
    names = dict(zip(map(id, results.records), series.names(results), strict=True))
    machines = _machines(results)
    found = [quantity["key"] for quantity in known]
    first = [key for key in FIRST if key in found] or found
    accuracy = next((quantity["key"] for quantity in known if not quantity["zero"]), None)
    return {
        "quantities": known,
        "axes": [{"key": name, "title": escape(name, quote=False), "numeric": _numeric(name, points)} for name in axes],
        "points": [
            _drawn(record, values, axes, known, (names[id(record)], machines[id(record)])) for record, values in points
        ],
        "first": {"metric": first[0], "axis": _axis(results, axes), "x": first[0], "y": accuracy or first[-1]}
        if first
        else {},
    }


def _machines(results: ResultSet) -> dict[int, str]:
    """Return the machine of each record by its id; where one machine has several groups, with what tells them apart."""
    parts = [re.split(r"[;,] ", group.heading) for group in results.groups]
    found = {}
    for group, own in zip(results.groups, parts, strict=True):
        device = str(group.records[0].environment.device)
        same = [
            other
            for other, theirs in zip(parts, results.groups, strict=True)
            if str(theirs.records[0].environment.device) == device
        ]
        apart = [part for part in own if not all(part in other for other in same)]
        found.update({id(record): ", ".join([device, *apart]) for record in group.records})
    return found


def _axis(results: ResultSet, axes: Sequence[str]) -> str:
    best = series.choose_axis(results, None)
    return best if best in axes else axes[0]


def _labels(results: ResultSet) -> int:
    return len({record.settings.upsampler for record in results.records})


def _drawable(results: ResultSet) -> dict[str, Quantity]:
    """Every number that a picture may show: measured, given, and printed in a published table."""
    given = {name: quantities.of(metric) for name, metric in metrics.accuracies(results.records).items()}
    printed = {
        f"published {key}": _printed(column)
        for key, table in results.printed.items()
        for column in table.columns
        if column.key == key
    }
    return {**quantities.measured(results.convention), **given, **printed}


def _printed(column: Column) -> Quantity:
    def read(record: Record) -> Point | None:
        value = column.raw(record)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return Point(float(value), float(value), float(value)) if number else None

    title = f"{column.title}, published"
    return Quantity(column.key, title, read, ((1.0, ""),), column.better == "higher", zero=False)


def _points(results: ResultSet) -> list[tuple[Record, dict[str, Point]]]:
    """Every measured record with its numbers by the name of the quantity, in SI base units."""
    known = _drawable(results)
    found = []
    for record in results.measured.rows:
        values = {name: point for name, q in known.items() if (point := q.read(record)) and _finite(point)}
        if values:
            found.append((record, values))
    return found


def _finite(point: Point) -> bool:
    return all(map(math.isfinite, (point.value, point.low, point.high)))


def _quantities(results: ResultSet, points: Sequence[tuple[Record, dict[str, Point]]]) -> list[dict[str, Any]]:
    """The quantities that some record has, each with the unit that its largest value is shown in."""
    known = []
    for name, quantity in _drawable(results).items():
        if not (found := [values[name].value for _, values in points if name in values]):
            continue
        factor, unit = quantity.scale_for(found)
        title = f"{quantity.title} [{unit.strip()}]" if unit.strip() else quantity.title
        known.append({"key": name, "title": escape(title, quote=False), "factor": factor, "zero": quantity.zero})
    return known


def _numeric(axis: str, points: Sequence[tuple[Record, dict[str, Point]]]) -> bool:
    return series.is_numeric([grouping.axis_value(record, axis) for record, _ in points])


def _drawn(
    record: Record,
    values: dict[str, Point],
    axes: Sequence[str],
    known: Sequence[dict[str, Any]],
    said: tuple[str, str],
) -> dict[str, Any]:
    name, machine = said
    factors = {quantity["key"]: quantity["factor"] for quantity in known}
    shown = {
        key: [p.value / factors[key], p.low / factors[key], p.high / factors[key]]
        for key, p in values.items()
        if key in factors
    }
    return {
        # The plotting library takes texts for markup.
        "name": escape(name or record.label, quote=False),
        "label": escape(record.label, quote=False),
        "upsampler": escape(record.settings.upsampler, quote=False),
        "device": escape(machine, quote=False),
        "at": {axis: _level(grouping.axis_value(record, axis)) for axis in axes},
        "values": shown,
    }


def _level(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    return escape(grouping.level_text(value), quote=False)
