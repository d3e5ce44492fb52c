"""Sentences on lines of results files that are no records: those that say the same are one."""

from __future__ import annotations

import re
from collections.abc import Iterable

NAMED = 3
"""Further lines that are named one by one; of more their number is said."""
_PLACE = re.compile(r"(?P<file>.*?, )(?P<kind>line|record) (?P<number>\d+)(?P<why>,.*)", re.DOTALL)
"""A sentence of `store` and `documents`: the file, where in it, and why that is skipped."""


def together(sentences: Iterable[str]) -> list[str]:
    """Return a sentence for each reason and file, where it is first, as a file of another schema has the same for every line.

    Args:
        sentences: As `Contents.skipped` has them, one a line.
    """
    found: dict[tuple[str, ...], list[str]] = {}
    for sentence in sentences:
        place = _PLACE.fullmatch(sentence)
        key = (sentence,) if place is None else (place["file"], place["kind"], place["why"])
        found.setdefault(key, []).append("" if place is None else place["number"])
    return [key[0] if len(key) == 1 else _one(key, numbers) for key, numbers in found.items()]


def _one(reason: tuple[str, ...], numbers: list[str]) -> str:
    file, kind, why = reason
    first, *more = numbers
    said = f"{file}{kind} {first}{why}"
    if not more:
        return said
    if len(more) > NAMED:
        return f"{said}; so are {len(more)} more {kind}s with the same, the last is {kind} {more[-1]}"
    if len(more) == 1:
        return f"{said}; so is {kind} {more[0]}"
    return f"{said}; so are {kind}s {', '.join(more[:-1])} and {more[-1]}"
