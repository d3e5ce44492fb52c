"""A table, before it has a format."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Table:
    """Heads, rows as shown, the same rows raw, and what stands above and below.

    numeric: which columns are numbers. raw_heads, raw_rows: for CSV, in SI base units.
    """

    title: str
    heads: list[str]
    rows: list[list[str]]
    numeric: list[bool]
    raw_heads: list[str]
    raw_rows: list[list[Any]]
    notes: list[str] = field(default_factory=list)
