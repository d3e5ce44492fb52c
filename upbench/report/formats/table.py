"""A table, before it has a format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

CellIndex = tuple[int, int]
"""Row and column of a cell as shown; row -1 is the head."""


class Rank(IntEnum):
    """What is emphasised, as in the papers: the best in bold, the second best underlined."""

    none = 0
    best = 1
    second = 2


@dataclass(frozen=True)
class Span:
    """A head above the heads: over the columns `first` to `last`, both included.

    suffix: what is added to each head where there is one row of heads only.
    """

    first: int
    last: int
    text: str
    suffix: str = ""


@dataclass(frozen=True)
class Table:
    """Heads, rows as shown, the same rows raw, and what stands above and below.

    numeric: which columns are numbers. raw_heads, raw_rows: for CSV and JSON, in SI base units.
    ranks: the emphasised cells. refs: cells that a footnote belongs to, with its place in `footnotes`.
    groups: a line above row n, that belongs to it and the rows below. spans: heads above the heads.
    lead: how many of the first columns name the row. label: a short name, for references to the table.
    """

    title: str
    heads: list[str]
    rows: list[list[str]]
    numeric: list[bool]
    raw_heads: list[str]
    raw_rows: list[list[Any]]
    notes: list[str] = field(default_factory=list)
    ranks: dict[CellIndex, Rank] = field(default_factory=dict)
    refs: dict[CellIndex, list[int]] = field(default_factory=dict)
    footnotes: list[str] = field(default_factory=list)
    groups: dict[int, str] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)
    lead: int = 0
    label: str = ""

    def rank(self, row: int, column: int) -> Rank:
        return self.ranks.get((row, column), Rank.none)

    def letters(self, row: int, column: int) -> str:
        """The footnotes of a cell or (row -1) a head: 'a', or 'a,c'; empty where there is none."""
        return ",".join(letter(n) for n in self.refs.get((row, column), []))


def stacked(tables: Sequence[Table]) -> Table:
    """Return the raw rows of several tables as those of one, with every column that one of them has; for CSV."""
    heads = list(dict.fromkeys(head for table in tables for head in table.raw_heads))
    rows = [dict(zip(table.raw_heads, row, strict=True)) for table in tables for row in table.raw_rows]
    return replace(tables[0], raw_heads=heads, raw_rows=[[row.get(head) for head in heads] for row in rows])


def letter(number: int) -> str:
    """The mark of a footnote: a to z, then aa, ab, ..."""
    text = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(ord("a") + rest) + text
    return text
