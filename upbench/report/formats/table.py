"""A table, before it has a format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

NOTES = ("none", "brief", "all")
"""How many notes of a table are printed."""
BRIEF = 3
"""How many notes stand under a table unless all are wanted."""
MORE = "-v prints all notes"
"""What ends the last note where others were left out."""
_FIRST = re.compile(r"(?<=[\w)]{2})\. (?=[A-Z])")
"""The end of a first sentence, which is no abbreviation."""
_MORE = re.compile(rf"(?:^|; ){MORE}\.$")
_ABOUT_NOTES = re.compile(r"\.|\d+ warnings? \(.*\)\.")
"""What is left of a note that only counts other notes."""
_ADVICE = re.compile(r"; (?:close|raise|run|try|let|calibrate|leave|measure|`upbench) [^;.]*\.$")
"""The end of a note that says what to do about it."""
CellIndex = tuple[int, int]
"""Row and column of a cell as shown; row -1 is the head."""


class Rank(IntEnum):
    """The emphasis of a cell, as in the papers: the best in bold, the second best underlined."""

    none = 0
    best = 1
    second = 2


@dataclass(frozen=True)
class Span:
    """A head above the heads.

    Args:
        first: The index of the first column below it.
        last: The index of the last column below it.
        text: The text of the head.
        suffix: What is added to each head where there is one row of heads only.
        name: What --heads calls it.
        written: Whether the text is a head that was given, in LaTeX.
    """

    first: int
    last: int
    text: str
    suffix: str = ""
    name: str = ""
    written: bool = False


@dataclass(frozen=True)
class Table:
    """Heads, rows as shown, the same rows raw, and what stands above and below.

    Args:
        title: The title.
        heads: The head of each column that is shown.
        rows: The rows as shown.
        numeric: Whether each column holds numbers.
        raw_heads: The keys of the columns of CSV and JSON.
        raw_rows: The rows of CSV and JSON, in SI base units.
        notes: Sentences below the table, all of them.
        brief: Those of them, or shorter ones, that are printed unless all are wanted, at most three; None for the first three.
        headline: One sentence above the table, which says what it shows.
        ranks: The rank of each emphasised cell.
        marks: The note on what they mean, which documents have however few others are printed.
        refs: For each cell with footnotes their indices in `footnotes`.
        footnotes: The texts of the footnotes.
        groups: A line above a row, by the index of the row; it belongs to this row and those below.
        spans: Heads above the heads.
        lead: How many of the first columns name the row.
        label: A short name, for references to the table.
        label_is_whole: Whether the label stands in LaTeX as it is, without "tab:" before it.
        caption: What LaTeX has instead of the title.
        star: Whether LaTeX sets it over both columns of a page.
        condition: What all rows were measured at, where the title does not say it; for the caption in LaTeX.
        names: What --heads calls each column; empty where heads cannot be given.
        written: The columns whose heads were given, in LaTeX.
    """

    title: str
    heads: list[str]
    rows: list[list[str]]
    numeric: list[bool]
    raw_heads: list[str]
    raw_rows: list[list[Any]]
    notes: list[str] = field(default_factory=list)
    brief: list[str] | None = None
    headline: str = ""
    ranks: dict[CellIndex, Rank] = field(default_factory=dict)
    marks: str = ""
    refs: dict[CellIndex, list[int]] = field(default_factory=dict)
    footnotes: list[str] = field(default_factory=list)
    groups: dict[int, str] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)
    lead: int = 0
    label: str = ""
    label_is_whole: bool = False
    caption: str | None = None
    star: bool = False
    condition: str = ""
    names: list[str] = field(default_factory=list)
    written: frozenset[int] = frozenset()

    def with_notes(self, many: str) -> Table:
        """Return the table with none of its notes, with the brief ones and the first sentence of each footnote, or with all; as NOTES."""
        if many == "all":
            return self
        if many == "none":
            return replace(self, notes=[], brief=None, footnotes=[], refs={}, marks="")
        footnotes = [_FIRST.split(text, maxsplit=1)[0] for text in self.footnotes]
        return replace(
            self,
            footnotes=footnotes,
            notes=self.notes[:BRIEF] if self.brief is None else self.brief[:BRIEF],
            brief=None,
        )

    def exported(self) -> list[str]:
        """Return the notes as a document has them: what was found, without advice to whoever measured."""
        kept = [_ADVICE.sub(".", _MORE.sub(".", note)) for note in self.notes]
        kept = [note for note in kept if not _ABOUT_NOTES.fullmatch(note)]
        return kept if not self.marks or self.marks in kept else [*kept, self.marks]

    def unmarked(self) -> Table:
        """Return the table without bold and underlined cells."""
        return replace(self, ranks={}, marks="", notes=[note for note in self.notes if note != self.marks])

    def rank(self, row: int, column: int) -> Rank:
        """Return the rank of a cell."""
        return self.ranks.get((row, column), Rank.none)

    def letters(self, row: int, column: int) -> str:
        """Return the footnotes of a cell or (row -1) a head as 'a' or 'a,c'; empty where there is none."""
        return ",".join(letter(n) for n in self.refs.get((row, column), []))


def stacked(tables: Sequence[Table]) -> Table:
    """Return one table with the raw rows of several tables, and with every column that one of them has; for CSV."""
    heads = list(dict.fromkeys(head for table in tables for head in table.raw_heads))
    rows = [dict(zip(table.raw_heads, row, strict=True)) for table in tables for row in table.raw_rows]
    return replace(tables[0], raw_heads=heads, raw_rows=[[row.get(head) for head in heads] for row in rows])


def sentence(text: str) -> str:
    """Return a note as a sentence, which begins with a capital unless a name or a number does."""
    first = text.partition(" ")[0].rstrip(",;:.")
    return f"{text[0].upper()}{text[1:]}" if first.isalpha() and first.islower() else text


def letter(number: int) -> str:
    """Return the mark of a footnote: a to z, then aa, ab, ..."""
    text = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(ord("a") + rest) + text
    return text
