"""Records as lines: which axis runs along the picture, which axes tell its lines apart, and which cells failed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from upbench.errors import unknown
from upbench.records.record import Record
from upbench.report.plots.quantities import Point, Quantity
from upbench.report.tables.grouping import LABEL, axis_value, cell_name, level_text
from upbench.report.tables.result_set import ResultSet


@dataclass(frozen=True)
class Sample:
    """One drawn cell: its value on the axis (a number, or anything else), its point, and the record."""

    at: Any
    point: Point
    record: Record


@dataclass(frozen=True)
class Line:
    """Cells that differ in one axis only, with a name that tells them from other lines; empty for the only line."""

    name: str
    samples: tuple[Sample, ...]


def names(results: ResultSet) -> list[str]:
    """Return a name for each record: its upsampler with its settings, and the axes that these do not say.

    Where all are of one upsampler, the names hold only what varies.
    """
    records = results.records
    axes = [name for name in results.varying if name != LABEL]
    single = len({r.settings.upsampler for r in records}) == 1 and bool(axes)
    devices = {r.environment.device for r in records}
    labels = []
    for record in records:
        in_label = () if single else record.settings.params
        parts = [_part(n, axis_value(record, n)) for n in axes if n not in in_label]
        if len(devices) > 1 and "device" not in axes:
            parts.append(str(record.environment.device))
        labels.append(", ".join(parts if single else [record.label, *parts]))
    return labels


def choose_axis(results: ResultSet, name: str | None) -> str:
    """Return the axis along which lines are drawn.

    Args:
        results: The cells.
        name: The axis; None for the first numeric one that varies, else the first that varies, else the upsampler.

    Raises:
        UnknownName: There is no such axis.
    """
    names = results.axes
    if name is not None:
        if name != LABEL and name not in names:
            raise unknown("axis for --axis", name, [*names, *([] if LABEL in names else [LABEL])])
        return name
    varying = results.varying
    numeric = [name for name in varying if is_numeric([axis_value(r, name) for r in results.records])]
    return next(iter([*numeric, *varying, LABEL]))


def lines(results: ResultSet, axis: str, quantity: Quantity) -> tuple[list[Line], list[str]]:
    """Return the lines of a metric along an axis.

    Args:
        results: The records.
        axis: Name of the axis.
        quantity: The metric.

    Returns:
        The lines, one for each combination of the other axes and devices, and the names of the cells without a value.
    """
    records = results.records
    other_axes = [name for name in results.varying if name != axis]
    devices = {r.environment.device for r in records}
    by_name: dict[str, list[Sample]] = {}
    without = []
    for record in records:
        point = quantity.read(record)
        if point is None:
            without.append(cell_name(record, level_text))
            continue
        parts = [_part(name, axis_value(record, name)) for name in other_axes]
        if len(devices) > 1 and "device" not in other_axes:
            parts.append(str(record.environment.device))
        by_name.setdefault(", ".join(parts), []).append(Sample(axis_value(record, axis), point, record))
    if is_numeric([s.at for samples in by_name.values() for s in samples]):
        by_name = {name: sorted(samples, key=lambda s: float(s.at)) for name, samples in by_name.items()}
    return [Line(name, tuple(samples)) for name, samples in by_name.items()], without


def by_size(results: ResultSet, quantity: Quantity) -> tuple[list[Line], list[str]]:
    """Return the lines of a metric along the number of output pixels, and the names of cells that have no value of it.

    There is a line for each upsampler, its settings and its channels.
    """
    records = results.records
    other_axes = [name for name in results.varying if name not in ("upsampler", "shape", "batch", "scale")]
    channels = {_channels(r) for r in records}
    devices = {r.environment.device for r in records}
    by_name: dict[str, list[Sample]] = {}
    without = []
    for record in records:
        point = quantity.read(record)
        if point is None:
            without.append(cell_name(record, level_text))
            continue
        known = record.settings.params
        parts = [_part(n, axis_value(record, n)) for n in other_axes if n not in known]
        if len(channels) > 1:
            parts.append(f"C={_channels(record)}")
        if len(devices) > 1:
            parts.append(str(record.environment.device))
        name = ", ".join([record.label, *parts])
        by_name.setdefault(name, []).append(Sample(pixels(record), point, record))
    ordered = {name: sorted(samples, key=lambda s: int(s.at)) for name, samples in by_name.items()}
    return [Line(name, tuple(samples)) for name, samples in ordered.items()], without


def pixels(record: Record) -> int:
    """Return the output pixels of the whole batch; sides are rounded down, as upsamplers do."""
    _, height, width = record.settings.sizes or (0, 0, 0)
    scale = record.settings.scale or 1
    return record.settings.input.batch * math.floor(height * scale) * math.floor(width * scale)


def is_numeric(values: Sequence[Any]) -> bool:
    """Return whether there are values, and all of them are numbers."""
    return bool(values) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _channels(record: Record) -> int:
    return (record.settings.sizes or (0, 0, 0))[0]


def _part(name: str, value: Any) -> str:
    return level_text(value) if name == LABEL else f"{name}={level_text(value)}"
