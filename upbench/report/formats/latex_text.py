"""Text for LaTeX: characters that it gives a meaning, thousands of numbers, and how wide a text is."""

from __future__ import annotations

import re

WIDTHS_PT = {
    letter: width
    for letters, width in (
        ("il.,:;!|'", 2.8), ("fj- ", 3.3), ("Irst()[]", 3.9), ("cez", 4.4), ("agoJ0123456789/", 5.1), ("kqvxy", 5.3),
        ("bdhnpuS", 5.6), ("ZLF", 6.5), ("EPBwCT", 7.2), ("RAHNUVXYD", 7.6), ("GKOQ+=", 7.8), ("mMW%", 9.5),
    )
    for letter in letters
}  # fmt: skip
"""Widths of letters of Computer Modern of 10 pt."""
SPECIAL = {
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    "[": "{[}",
    "]": "{]}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
}
"""Characters that LaTeX gives a meaning, as they are written in text.

A bracket is put in braces: at the beginning of a row LaTeX would take it for the optional argument of the line break
before.
"""


def cell(text: str, numeric: bool) -> str:
    """Return a cell for LaTeX, with a comma between the thousands of a number."""
    return escape(re.sub(r"^\d{4,}(?= B$|$)", lambda m: f"{int(m[0]):,}", text) if numeric else text)


def escape(text: str) -> str:
    """Return plain text for LaTeX; `code` in backquotes is set in typewriter."""
    parts = re.split(r"`([^`]*)`", text)
    plain = ["".join(SPECIAL.get(c, c) for c in part).replace("--", "-{}-").replace("+-", "$\\pm$") for part in parts]
    return "".join(f"\\texttt{{{part}}}" if n % 2 else part for n, part in enumerate(plain))


def points(text: str) -> float:
    """Return the width of a text in points, in type of 10 pt."""
    return sum(WIDTHS_PT.get(letter, 5.6) for letter in text)
