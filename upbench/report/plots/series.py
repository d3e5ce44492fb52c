"""Records as lines: which axis runs along the picture, which tell its lines apart, which cells failed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from upbench.errors import unknown
from upbench.record import Record
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
    """Cells that differ in one axis only. name: what tells the line from the others, empty for the only one."""

    name: str
    samples: tuple[Sample, ...]


def names(results: ResultSet) -> list[str]:
    """A name for each record: its upsampler with its settings, and the axes that these do not say.

    Where all are of one upsampler, only what varies.
    """
    records = results.records
    others = [name for name in results.varying if name != LABEL]
    single = len({r.settings.upsampler for r in records}) == 1 and bool(others)
    devices = {r.environment.device for r in records}
    found = []
    for record in records:
        told = () if single else record.settings.params
        parts = [_part(n, axis_value(record, n)) for n in others if n not in told]
        if len(devices) > 1 and "device" not in others:
            parts.append(str(record.environment.device))
        found.append(", ".join(parts if single else [record.label, *parts]))
    return found


def choose_axis(results: ResultSet, name: str | None) -> str:
    """The axis asked for, or the first numeric one that varies, or the first that varies, or the upsampler."""
    names = results.axes
    if name is not None:
        if name != LABEL and name not in names:
            raise unknown("axis for --axis", name, [*names, *([] if LABEL in names else [LABEL])])
        return name
    moving = results.varying
    numeric = [name for name in moving if is_numeric([axis_value(r, name) for r in results.records])]
    return next(iter([*numeric, *moving, LABEL]))


def lines(results: ResultSet, axis: str, quantity: Quantity) -> tuple[list[Line], list[str]]:
    """The lines of a metric along an axis, and the names of measured cells that do not have the metric."""
    records = results.records
    others = [name for name in results.varying if name != axis]
    devices = {r.environment.device for r in records}
    found: dict[str, list[Sample]] = {}
    without = []
    for record in records:
        point = quantity.read(record)
        if point is None:
            without.append(cell_name(record, level_text))
            continue
        parts = [_part(name, axis_value(record, name)) for name in others]
        if len(devices) > 1 and "device" not in others:
            parts.append(str(record.environment.device))
        found.setdefault(", ".join(parts), []).append(Sample(axis_value(record, axis), point, record))
    if is_numeric([s.at for samples in found.values() for s in samples]):
        found = {name: sorted(samples, key=lambda s: float(s.at)) for name, samples in found.items()}
    return [Line(name, tuple(samples)) for name, samples in found.items()], without


def by_size(results: ResultSet, quantity: Quantity) -> tuple[list[Line], list[str]]:
    """Lines of a metric along the number of output pixels: one for each upsampler, its settings and its channels."""
    records = results.records
    others = [name for name in results.varying if name not in ("upsampler", "shape", "batch", "scale")]
    channels = {_channels(r) for r in records}
    devices = {r.environment.device for r in records}
    found: dict[str, list[Sample]] = {}
    without = []
    for record in records:
        point = quantity.read(record)
        if point is None:
            without.append(cell_name(record, level_text))
            continue
        known = record.settings.params
        parts = [_part(n, axis_value(record, n)) for n in others if n not in known]
        if len(channels) > 1:
            parts.append(f"C={_channels(record)}")
        if len(devices) > 1:
            parts.append(str(record.environment.device))
        name = ", ".join([record.label, *parts])
        found.setdefault(name, []).append(Sample(pixels(record), point, record))
    ordered = {name: sorted(samples, key=lambda s: int(s.at)) for name, samples in found.items()}
    return [Line(name, tuple(samples)) for name, samples in ordered.items()], without


def pixels(record: Record) -> int:
    """Output pixels of the whole batch; sides are rounded down, as upsamplers do."""
    _, height, width = record.settings.sizes or (0, 0, 0)
    scale = record.settings.scale or 1
    return record.settings.input.batch * math.floor(height * scale) * math.floor(width * scale)


def is_numeric(values: Sequence[Any]) -> bool:
    return bool(values) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _channels(record: Record) -> int:
    return (record.settings.sizes or (0, 0, 0))[0]


def _part(name: str, value: Any) -> str:
    return level_text(value) if name == LABEL else f"{name}={level_text(value)}"
