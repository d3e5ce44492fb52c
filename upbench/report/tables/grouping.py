"""Which records may be set against each other: the machine and versions, the work, and what tells rows apart."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from upbench import units
from upbench.records.record import Record
from upbench.records.stored import fact
from upbench.report.tables import columns
from upbench.report.tables.columns import Column


def _reader(section: str, name: str) -> Callable[[Record], Any]:
    """A key of the input or measure section of a record's spec."""
    return lambda record: getattr(record.settings, section).value(name)


CONTEXT = (
    columns.LABEL,
    columns.SHAPE,
    columns.SCALE,
    *(
        Column(name, name.replace("_", " "), _reader(section, name), units.plain, numeric=False)
        for section, name in (
            ("input", "batch"),
            ("input", "dtype"),
            ("input", "memory_format"),
            ("input", "offsets"),
            ("measure", "mode"),
            ("measure", "compile"),
            ("measure", "runtime"),
            ("measure", "backend"),
            ("measure", "allocator"),
            ("measure", "flush_denormals"),
        )
    ),
)
"""Columns that are added to a table when records with equal axis values differ in them."""

UPSAMPLER = Column("upsampler", "upsampler", lambda record: record.settings.upsampler, units.plain, numeric=False)
"""The column of the upsampler's name alone, where axes hold its settings."""

LABEL = "upsampler"
"""The axis that pictures have even where a sweep has none: the labels of the records."""


def bare(axis: str) -> str:
    """Return the name of an axis without its section: batch for `input.batch`."""
    return axis.rpartition(".")[2]


def axis_value(record: Record, axis: str) -> Any:
    """Return the value of an axis in a record; None for a record without that axis, its label for one without axes."""
    if axis == LABEL and LABEL not in record.axes:
        return record.label
    return record.axes.get(axis)


def setting(record: Record, axis: str) -> Any:
    """Return the value that an axis of other records has in the spec of a record, given or default; None where it has none."""
    spec, (section, _, name) = record.settings, axis.rpartition(".")
    places = {"input": spec.input, "measure": spec.measure, "": spec}
    if section not in places or (section == "" and name in spec.params):
        return spec.params.get(name)
    found = [places[section].value(name), *([] if section else [spec.input.value(name), spec.measure.value(name)])]
    return next((value for value in found if value is not None), None)


def with_axes(records: Sequence[Record], axes: Sequence[str]) -> list[Record]:
    """Return records with the axes of a sweep that they are not of, where their specs say what values they have there."""

    def completed(record: Record) -> Record:
        missing = (name for name in axes if name not in record.axes)
        found = {name: value for name in missing if (value := setting(record, name)) is not None}
        return record.model_copy(update={"axes": {**record.axes, **found}}) if found else record

    return [completed(record) for record in records]


def level_text(value: Any) -> str:
    """Return the value of an axis as it is written in YAML."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def cell_name(record: Record, text: Callable[[Any], str] = str) -> str:
    """Return the name of a cell in a sentence: its axes with their values, or its label.

    Args:
        record: The record of the cell.
        text: Writes the value of an axis.
    """
    return ", ".join(f"{key}={text(value)}" for key, value in record.axes.items()) or record.label


def context(records: Sequence[Record], axes: Sequence[str]) -> list[Column]:
    """Return the columns that separate rows where the axes do not: those that differ among records with equal axes.

    Without axes the label is one of them. Of records with different axes, as of two sweeps, all that differ are shown, and
    the upsampler.

    Args:
        records: The records.
        axes: Names of the axes.
    """
    taken = {bare(axis) for axis in axes}
    free = [c for c in CONTEXT if c.key not in taken and not (c.key == "label" and axes)]
    by_axes: dict[str, list[Record]] = {}
    for record in records:
        by_axes.setdefault(repr([record.axes.get(name) for name in axes]), []).append(record)
    if len({frozenset(record.axes) for record in records}) > 1:
        free = [c for c in (UPSAMPLER, *free) if c.key not in taken]
        by_axes = {"": list(records)}
    differing = {c.key for same in by_axes.values() for c in columns.varying(same, free)}
    return [c for c in free if c.key in differing or (c.key == "label" and not axes)]


@fact
def allocator_of(record: Record) -> str | None:
    """Return what malloc did while a record was timed; of one without latency what its spec asks for. None on a GPU."""
    if record.environment.device_type not in ("cpu", None):
        return None
    known = record.latency.memory_kept if record.latency else None
    return known or record.settings.measure.allocator


def machine_key(record: Record, axes: Sequence[str]) -> tuple[Hashable, ...]:
    """Return device, threads, versions, allocator and series, those that are axes aside from the first two.

    Records of different keys stand in different groups.
    """
    env, taken = record.environment, {bare(axis) for axis in axes}
    device = None if "device" in taken else (env.device, env.cuda)
    threads = None if taken & {"threads", "device"} or env.device_type != "cpu" else env.threads
    return device, threads, env.torch, env.measurement_version, env.kernels, allocator_of(record), series(record)


@fact
def series(record: Record) -> int:
    """Return which rows of a sweep a record is of: later runs whose ratios do not continue those before are a group each."""
    passes = record.latency.passes if record.status == "ok" and record.latency else None
    return 0 if passes is None else passes.series


@fact
def session(record: Record) -> tuple[Hashable, ...]:
    """Return in which run a record was timed: only times of one run are better or worse than each other."""
    passes = record.latency.passes if record.status == "ok" and record.latency else None
    if passes is not None:
        return ("passes", record.sweep.name if record.sweep else "", *passes.reference, passes.series)
    if record.comparison is not None:
        return ("comparison", record.comparison)
    return ("sweep", record.sweep.name) if record.sweep else ("alone", record.started, record.label)


def machine_text(
    record: Record, axes: Sequence[str], several_versions: bool = False, several_allocators: bool = False
) -> str:
    """Return the machine and the versions of `machine_key` in words.

    Args:
        record: A record of the group.
        axes: The axes of the sweep.
        several_versions: Whether there are records of other measurement versions.
        several_allocators: Whether there are records that were timed with another allocator.
    """
    device, threads, torch, version, kernels, allocator, later = machine_key(record, axes)
    parts = [
        f"{device[0]}" if isinstance(device, tuple) else "",
        units.number_of(threads, "thread") if isinstance(threads, int) else "",
    ]
    return (
        ", ".join(p for p in parts if p)
        + f"{'; ' if any(parts) else ''}torch {torch}, upbench {record.environment.upbench}{kernels_text(kernels)}"
        + (f", measurement version {version or 'unknown'}" if several_versions else "")
        + (f", memory {allocator}" if several_allocators and allocator else "")
        + (f", added later ({later})" if later else "")
    )


def series_text(record: Record) -> str:
    """Return what tells groups of one machine apart: which of them were added later."""
    later = series(record)
    return f"Added later{f' ({later})' if later > 1 else ''}" if later else "Measured first"


def measurement_versions(records: Sequence[Record]) -> set[int | None]:
    """Return the ways in which records were measured, without impossible cells; see `measure.MEASUREMENT_VERSION`."""
    return {r.environment.measurement_version for r in records if r.status != "impossible"}


def kernels_text(kernels: object) -> str:
    """Return the words that follow the version of upbench: what its fused ops were compiled from, as far as the record knows."""
    known = {"c": " with C kernels", "torch": " without C kernels"}
    return known.get(str(kernels), f" with {kernels}" if kernels else "")


@fact
def workload_key(record: Record) -> tuple[Hashable, ...]:
    """Return what a call has to do; only cells of equal work are better or worse than each other."""
    spec = record.settings
    model = repr(spec.value("model")) if spec.value("model") else None
    return spec.scale, spec.input.shape, model, str(spec.input.batch), spec.input.offsets, spec.measure.mode


def by_machine(records: Sequence[Record], axes: Sequence[str]) -> dict[tuple[Hashable, ...], list[Record]]:
    """Return the records by machine, each group in its order.

    A cell that is impossible is so on every machine: it joins the first group when its own machine has no other records,
    and stands once in a group.

    Args:
        records: The records, at least one.
        axes: The axes of the sweep.
    """
    machines = [machine_key(r, axes) for r in records if r.status != "impossible"] or [machine_key(records[0], axes)]
    groups: dict[tuple[Hashable, ...], list[Record]] = {machine: [] for machine in machines}
    seen: set[tuple[Hashable, ...]] = set()
    for record in records:
        machine = machine_key(record, axes)
        machine = machine if machine in groups else machines[0]
        if record.status == "impossible":
            cell = (machine, repr(record.axes), repr(record.spec))
            if cell in seen:
                continue
            seen.add(cell)
        groups[machine].append(record)
    return groups
