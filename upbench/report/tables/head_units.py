"""A unit in a head that was given, as "Time (ms)": the numbers below stand in it, without it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

from upbench import units

_FAMILIES = (
    {"s": Decimal(1), "ms": Decimal("1e-3"), "us": Decimal("1e-6"), "ns": Decimal("1e-9")},
    {"B": Decimal(1), "KiB": Decimal(2) ** 10, "MiB": Decimal(2) ** 20, "GiB": Decimal(2) ** 30},
    {"": Decimal(1), "K": Decimal(10) ** 3, "M": Decimal(10) ** 6, "G": Decimal(10) ** 9, "T": Decimal(10) ** 12},
)
_HEAD = re.compile(r".*\((\w+)\)")
_CELL = re.compile(r"([+-]?)([\d.]+) ?([a-zA-Z]*)")


def in_unit_of(head: str, cells: Sequence[str]) -> list[str]:
    """Return the cells of a column in the unit at the end of its head; as they are where it has none, or one is of another kind.

    Args:
        head: The head as given: "Time (ms)", "Params (M)".
        cells: As shown: "8.12 ms", "39.41K", "-".
    """
    found = _HEAD.fullmatch(head)
    family = next((f for f in _FAMILIES if found and found[1] in f), None)
    if found is None or family is None:
        return list(cells)
    made = [_converted(cell, family, found[1]) for cell in cells]
    return list(cells) if None in made else [text for text in made if text is not None]


def _converted(cell: str, family: dict[str, Decimal], unit: str) -> str | None:
    """A number with its unit as a number in another one, of as many digits; None where it is no such number."""
    if cell in (units.DASH, ""):
        return cell
    found = _CELL.fullmatch(cell)
    if found is None or found[3] not in family:
        return None
    sign, text, own = found.groups()
    if own == unit or not text.strip("0."):
        return f"{sign}{text}"
    value = Decimal(text) * family[own] / family[unit]
    digits = len(text.replace(".", "").lstrip("0"))
    places = max(digits - 1 - value.adjusted(), 0)
    return f"{sign}{round(value, places):f}"
