"""What an upsampler compared with itself showed, in the words of notes under a table."""

from __future__ import annotations

from collections.abc import Sequence

from upbench import units
from upbench.records.record import Record
from upbench.report.tables import facts

TOO_WIDE = 0.5
"""The noise floor, as a part of 1, above which next to nothing can be told apart."""


def too_wide(floor: float) -> str:
    """Return what a noise floor leaves to be told and what lowers it, as a sentence; empty for a usual one."""
    return f"{_ADVICE[0].upper()}{_ADVICE[1:]}." if floor > TOO_WIDE else ""


_ADVICE = "calls that differ by less cannot be told apart; take a larger budget or shape"


def in_short(records: Sequence[Record]) -> list[str]:
    """Return the noise floor of timed records in a few words, of several sweeps that of each."""
    floors = [r.noise_floor for r in records if r.noise_floor is not None]
    wide = f": {_ADVICE}" if max(floors, default=0.0) > TOO_WIDE else ""
    if len(by_reference := _by_reference(records)) > 1:
        listed = ", ".join(f"{units.percent(floor)} ({name})" for name, floor in by_reference.items())
        return [f"noise floors {listed}{wide}; a ratio is to the reference of its own sweep"]
    return [f"noise floor {units.percent(max(floors)) if floors else 'unknown'}{wide}"]


def _by_reference(records: Sequence[Record]) -> dict[str, float]:
    """Return the noise floor of each sweep, by its name; nothing where the sweeps have no names that differ."""
    floors: dict[str, float] = {}
    for record in records:
        if (reference := facts.reference(record)) is not None and record.noise_floor is not None:
            floors[reference[0]] = max(record.noise_floor, floors.get(reference[0], 0.0))
    return floors
