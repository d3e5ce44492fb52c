"""The reference of a sweep: the cell that all others are timed beside, and that ratios are taken to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import yaml

from upbench.errors import SpecError, UpbenchError, known_names
from upbench.records.record import Record
from upbench.records.store import Identity
from upbench.specs import run_spec as spec
from upbench.sweeping import axes
from upbench.sweeping.expand import Cell, SweepSpec


def asked(text: str, cells: Sequence[Cell]) -> int:
    """Return the number of the first cell that has the values asked for.

    Args:
        text: AXIS=VALUE[,AXIS=VALUE], as --reference has it.
        cells: The cells of the sweep.

    Raises:
        SpecError: No cell has these values, or each that has them is impossible.
    """
    names = list(dict.fromkeys(name for cell in cells for name in cell.axes))
    wanted: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value:
            raise SpecError(
                [f"--reference {part!r} is not AXIS=VALUE; write --reference {(names or ['theta'])[0]}=..."]
            )
        if name not in names:
            raise SpecError([f"--reference {part}: no axis of the sweep; {known_names(name, names)}"])
        levels = list(dict.fromkeys(str(cell.axes.get(name)) for cell in cells))
        level = value if value in levels else str(yaml.safe_load(value))
        if level not in levels:
            raise SpecError([f"--reference {part}: no value of {name}; known: {', '.join(levels)}"])
        wanted[name] = level
    fitting = [n for n, cell in enumerate(cells) if all(str(cell.axes.get(k)) == v for k, v in wanted.items())]
    if not fitting:
        raise SpecError([f"--reference {text}: no cell of the sweep has these values together"])
    possible = next((n for n in fitting if cells[n].spec is not None), None)
    if possible is None:
        raise SpecError([f"--reference {text}: the cell is impossible ({'; '.join(cells[fitting[0]].mistakes)})"])
    return possible


def not_taken(
    asked: int | None, records: Iterable[Record], cells: Sequence[Cell], identities: Mapping[Identity, int]
) -> str | None:
    """Return that the ratios of a sweep that is measured are to another cell than the one asked for; None where they are not.

    Args:
        asked: Number of the cell that was asked for; None for none.
        records: The records of the sweep.
        cells: Its cells.
        identities: The numbers of the cells, by the identities of their records.
    """
    timed = [r.latency.passes.reference for r in records if r.latency is not None and r.latency.passes is not None]
    references = {(key, axes) for key, axes in timed}
    keys = {key for (key, _), n in identities.items() if n == asked}
    if asked is None or not references or keys & {key for key, _ in references}:
        return None
    had = [cells[n].label for one, n in identities.items() if one in references] or ["another cell"]
    return (
        f"--reference: the times of the results file are ratios to {' and '.join(had)}; no cell was left to measure, and "
        f"--fresh measures all again, as ratios to {cells[asked].label}"
    )


def of_base(numbers: Sequence[int], cells: Sequence[Cell], sweep: SweepSpec) -> int:
    """Return which of some cells is the base of the sweep; the first of them where none is.

    Args:
        numbers: The numbers of the cells to choose from, all possible ones.
        cells: The cells of the sweep.
        sweep: The sweep.
    """
    try:
        base = spec.load(
            {**sweep.base, "input": sweep.input, "measure": sweep.measure, "model": sweep.model or None}
        ).to_dict()
    except UpbenchError:
        return numbers[0]
    for n in numbers:
        one = cells[n].spec
        own = one.to_dict() if one else {}
        if all(axes.value(own, axis) == axes.value(base, axis) for axis in cells[n].axes):
            return n
    return numbers[0]
