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
SIGNS_PT = {"$-$": 7.8, "$\\pm$": 7.8, "$\\times$": 7.8, "$\\times^{=}$": 14.5, "$\\times^{?}$": 12.1}
"""Widths of the signs that cells have, as they are written."""
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
    """Return a cell for LaTeX: of a number with a comma between its thousands, with a minus and a times sign."""
    if not numeric:
        return escape(text)
    plain = escape(re.sub(r"^\d{4,}(?= B$|$)", lambda m: f"{int(m[0]):,}", text))
    minus = re.sub(r"^-(?=\d)", "$-$", plain)
    return re.sub(r"(?<=\d)x([=?]?)$", lambda m: f"$\\times^{{{m[1]}}}$" if m[1] else "$\\times$", minus)


def escape(text: str) -> str:
    """Return plain text for LaTeX; `code` in backquotes is set in typewriter."""
    parts = re.split(r"`([^`]*)`", text)
    plain = ["".join(SPECIAL.get(c, c) for c in part).replace("--", "-{}-").replace("+-", "$\\pm$") for part in parts]
    return "".join(f"\\texttt{{{part}}}" if n % 2 else part for n, part in enumerate(plain))


def points(text: str) -> float:
    """Return the width of a text in points, in type of 10 pt."""
    signs = {sign: text.count(sign) for sign in SIGNS_PT}
    for sign in SIGNS_PT:
        text = text.replace(sign, "")
    letters = sum(WIDTHS_PT.get(letter, 5.6) for letter in text)
    return letters + sum(SIGNS_PT[sign] * count for sign, count in signs.items())


def without_commands(text: str) -> str:
    """Return about what is seen of a text in LaTeX, for its width."""
    return re.sub(r"\\[A-Za-z]+ ?|[${}_^\\]", "", text)


_KEPT = re.compile(r"(\$[^$]*\$|\\[A-Za-z]*(?:ref|cite)[A-Za-z]*\*?(?:\[[^\]]*\])*\{[^{}]*\}|\\.)", re.DOTALL)
"""What is LaTeX for certain: formulas, references and whatever follows a backslash."""


def caption(text: str) -> str:
    """Return a caption as its author wrote it, in LaTeX, with the signs escaped that would end it or break it: `50% & #1`."""
    parts = _KEPT.split(text)
    return "".join(part if n % 2 else re.sub(r"[%&#_]", r"\\\g<0>", part) for n, part in enumerate(parts))


def dollars_match(text: str) -> bool:
    """Return whether every dollar of a text in LaTeX has its partner, but for those behind a backslash."""
    return re.sub(r"\\.", "", text, flags=re.DOTALL).count("$") % 2 == 0


def braces_match(text: str) -> bool:
    """Return whether every brace of a text in LaTeX has its partner, but for those behind a backslash."""
    depth = 0
    for sign in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if sign == "{" else -1
        if depth < 0:
            return False
    return depth == 0
