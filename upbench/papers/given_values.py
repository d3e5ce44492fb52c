"""Values in tables of accuracy: numbers with their decimals and deviations, names with params, keys as YAML reads them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

MISSING = ("", "-", "--", "n/a", "na", "nan", "none")
"""Texts of a cell without a value."""
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_WITH_SPREAD = re.compile(rf"({_NUMBER})\s*%?\s*(?:(?:\+-|\+/-|±|\(±)\s*({_NUMBER})\s*%?\)?)?")
_WITH_PARAMS = re.compile(r"(.+?):([A-Za-z_][\w.]*=.*)")


@dataclass(frozen=True)
class Number:
    """A number as typed: its value, the decimals it was written with, and the deviation behind it."""

    value: float
    decimals: int
    sd: float | None = None


def is_missing(value: object) -> bool:
    """Return whether a cell has no value."""
    return value is None or (isinstance(value, str) and value.strip().lower() in MISSING)


def parsed(value: object) -> list[Number] | None:
    """Return the numbers of a cell: one, or those of a list of runs; none where the cell is empty, None where it is no number."""
    if is_missing(value):
        return []
    if isinstance(value, Sequence) and not isinstance(value, str):
        each = [parsed(one) for one in value]
        return None if any(not one for one in each) else [n for one in each for n in one or ()]
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    match = _WITH_SPREAD.fullmatch(str(value).strip())
    if match is None or not math.isfinite(float(match[1])):
        return None
    mantissa = re.split("[eE]", match[1])[0]
    decimals = len(mantissa.partition(".")[2]) if mantissa == match[1] else 6
    return [Number(float(match[1]), decimals, float(match[2]) if match[2] else None)]


def split_name(text: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the params of an upsampler as it is typed: 'ldaaqu:theta=5,groups=4', or 'ldaaqu (theta=5)'."""
    text = text.strip()
    match = _WITH_PARAMS.fullmatch(text) or re.fullmatch(r"(.+?) \(([A-Za-z_][\w.]*=[^()]*)\)", text)
    if match is None:
        return text, {}
    params = {}
    for part in match[2].split(","):
        key, equals, value = part.partition("=")
        if not equals:
            return text, {}
        params[key.strip()] = plain(value)
    return match[1].strip(), params


def plain(text: str) -> Any:
    """Return a text as YAML reads it: '5' as a number, 'true' as a truth value; what it cannot read stays text."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text.strip()
    return value if isinstance(value, int | float | bool | str) or value is None else text.strip()


def same(value: object, other: object) -> bool:
    """Return whether two values of a key are the same: 5 and 5.0 are, and so are true and 'true'."""
    if isinstance(value, bool) or isinstance(other, bool) or value is None or other is None:
        return _text(value) == _text(other)
    if isinstance(value, int | float) and isinstance(other, int | float):
        return math.isclose(value, other, rel_tol=1e-9)
    return _text(value) == _text(other)


def _text(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value).strip()


def bare_name(text: str) -> str:
    """Return a name as names are compared: LDA-AQU, lda_aqu and ldaaqu are one."""
    return re.sub(r"[-_\s]", "", text).lower()
