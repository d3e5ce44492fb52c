"""A table in LaTeX, with booktabs, as it can stand in a paper."""

from __future__ import annotations

import re

from upbench.report.formats.table import Rank, Span, Table, letter

NEEDS = "% needs \\usepackage{booktabs}"
"""The comment that names the package which the tables need."""
NEEDS_NOTES = " and \\usepackage{tablefootnote}"
"""What follows it where a table has notes."""
COLUMN_PT, PAGE_PT = 229.0, 469.0
"""Width of a column and of a page in points: of the class article, whose are the narrowest of those that papers use."""
SIZES = (("small", 0.925, 4.0), ("footnotesize", 0.851, 3.0), ("scriptsize", 0.797, 2.0), ("tiny", 0.682, 1.5))
"""Sizes of type, the largest first: command, part of the size of 10 pt, points on each side of a column."""
NARROW_PT = 40.0
"""The width to which the first column is narrowed where its text would make the type tiny."""
WIDTHS_PT = {
    letter: width
    for letters, width in (
        ("il.,:;!|'", 2.8), ("fj- ", 3.3), ("Irst()[]", 3.9), ("cez", 4.4), ("agoJ0123456789/", 5.1), ("kqvxy", 5.3),
        ("bdhnpuS", 5.6), ("ZLF", 6.5), ("EPBwCT", 7.2), ("RAHNUVXYD", 7.6), ("GKOQ+=", 7.8), ("mMW%", 9.5),
    )
    for letter in letters
}  # fmt: skip
"""Widths of letters of Computer Modern of 10 pt."""
BOLD = 1.15
"""How much wider bold type is."""
EMPHASIS = {Rank.none: "{}", Rank.best: "\\textbf{{{}}}", Rank.second: "\\underline{{{}}}"}
"""The command of each rank."""
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


def environment(table: Table) -> str:
    """Return a `table` environment: caption, label, rules of booktabs, bold and underline, notes as `tablefootnote` sets them.

    The type is the largest with which the table fits a column of 229 pt (of 240 pt all the more), or with `star` a page.
    """
    size, gap, columns = _setting(table)
    name = "table*" if table.star else "table"
    footnotes = _Footnotes(table)
    caption = escape(table.title) if table.caption is None else table.caption
    lines = [f"\\begin{{{name}}}[t]", "  \\centering", f"  \\caption{{{caption}}}"]
    if table.label:
        lines.append(f"  \\label{{{footnotes.label}}}")
    lines += [f"  \\{size}", f"  \\setlength{{\\tabcolsep}}{{{gap:g}pt}}"]
    lines += [f"  \\begin{{tabular}}{{{columns}}}", "    \\toprule"]
    lines += _spans(table)
    heads = [head(text, table.numeric[n]) + footnotes.mark(-1, n) for n, text in enumerate(table.heads)]
    lines.append(_row([*heads[:-1], f"{heads[-1]}{footnotes.general()}"] if heads else []))
    lines.append("    \\midrule")
    for m, row in enumerate(table.rows):
        if m in table.groups:
            lines += ["    \\midrule"] if m else []
            lines.append(f"    \\multicolumn{{{len(heads)}}}{{l}}{{\\textit{{{escape(table.groups[m])}}}}} \\\\")
        cells = [EMPHASIS[table.rank(m, n)].format(cell(t, table.numeric[n])) for n, t in enumerate(row)]
        texts = [text + footnotes.mark(m, n) for n, text in enumerate(cells)]
        lines.append(_row([f"\\raggedright {texts[0]}", *texts[1:]] if columns.startswith("p") else texts))
    lines += ["    \\bottomrule", "  \\end{tabular}", f"\\end{{{name}}}"]
    needs = NEEDS + (NEEDS_NOTES if footnotes.used else "")
    return "\n".join([needs, *lines]) + "\n"


class _Footnotes:
    """The footnotes of a table: the first use of one holds its text, the others its number."""

    def __init__(self, table: Table) -> None:
        named = re.sub(r"[^A-Za-z0-9:-]", "-", table.label)
        self.label = named if table.label_is_whole else f"tab:{named}"
        self.used = False
        self._table = table
        self._seen: set[int] = set()

    def mark(self, row: int, column: int) -> str:
        """Return the footnotes of a cell, or of a head where the row is -1."""
        marks = []
        for number in self._table.refs.get((row, column), []):
            name = f"fn:{self.label.removeprefix('tab:')}-{letter(number)}"
            if number in self._seen:
                marks.append(f"\\textsuperscript{{\\ref{{{name}}}}}")
            else:
                self._seen.add(number)
                self.used = True
                marks.append(f"\\tablefootnote{{\\label{{{name}}}{escape(self._table.footnotes[number])}.}}")
        return "\\textsuperscript{,}".join(marks)

    def general(self) -> str:
        """Return the notes on the whole table as one footnote; empty where there is none."""
        notes = " ".join(escape(note) for note in self._table.exported())
        self.used |= bool(notes)
        return f"\\tablefootnote{{{notes}}}" if notes else ""


def _setting(table: Table) -> tuple[str, float, str]:
    """Return the size of the type, the points beside a column and the columns of the tabular, so that it fits.

    Where it would be smaller than \\scriptsize, the text of the first column wraps.
    """
    room = PAGE_PT if table.star else COLUMN_PT
    plain = "".join("r" if numeric else "l" for numeric in table.numeric)
    width = [_width(table, n) for n in range(len(plain))]
    for size, part, gap in SIZES[:3]:
        if sum(width) * part + 2 * gap * len(width) <= room:
            return size, gap, plain
    for size, part, gap in SIZES[2:]:
        rest = sum(width[1:]) * part + 2 * gap * len(width)
        narrow = min(width[0] * part, room - rest) if width and not table.numeric[0] else 0.0
        if narrow >= NARROW_PT:
            return size, gap, f"p{{{narrow:.0f}pt}}{plain[1:]}"
    return SIZES[-1][0], SIZES[-1][2], plain


def _width(table: Table, column: int) -> float:
    """Return the width of a column in points, in type of 10 pt; no word of a head above its head is wider."""
    own = max((_points(table, m, column) for m in range(-1, len(table.rows))), default=0.0)
    above = [span for span in table.spans if span.first == span.last == column]
    words = [word for span in above for word in span.text.split()]
    return max([own, *(_text_points(word) for word in words)])


def _span_lines(table: Table, span: Span) -> list[str]:
    """Cut a head above heads into lines that are no wider than the columns below it."""
    room = sum(_width(table, n) for n in range(span.first, span.last + 1))
    lines: list[str] = []
    for word in span.text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and _text_points(joined) <= room:
            lines[-1] = joined
        else:
            lines.append(word)
    return lines


def _text_points(text: str) -> float:
    return sum(WIDTHS_PT.get(letter, 5.6) for letter in text)


def _points(table: Table, row: int, column: int) -> float:
    """Return the width of a cell, or of a head where the row is -1, in type of 10 pt, its footnotes included."""
    text = table.heads[column] if row < 0 else table.rows[row][column]
    marks = len(table.refs.get((row, column), [])) + (row < 0 and column == len(table.heads) - 1 and bool(table.notes))
    lines = _two_lines(text) if row < 0 else [cell(text, table.numeric[column])]
    wide = max(map(_text_points, lines))
    return wide * (BOLD if table.rank(row, column) is Rank.best else 1) + 5 * marks


def _two_lines(text: str) -> list[str]:
    """Cut a head of several words into two lines of about the same length."""
    words = text.split(" ")
    cuts = [(" ".join(words[:n]), " ".join(words[n:])) for n in range(1, len(words))]
    return list(min(cuts, key=lambda cut: max(map(len, cut)))) if cuts and len(text) > 9 else [text]


def cell(text: str, numeric: bool) -> str:
    """Return a cell for LaTeX, with a comma between the thousands of a number."""
    return escape(re.sub(r"^\d{4,}(?= B$|$)", lambda m: f"{int(m[0]):,}", text) if numeric else text)


def escape(text: str) -> str:
    """Return plain text for LaTeX; `code` in backquotes is set in typewriter."""
    parts = re.split(r"`([^`]*)`", text)
    plain = ["".join(SPECIAL.get(c, c) for c in part).replace("--", "-{}-").replace("+-", "$\\pm$") for part in parts]
    return "".join(f"\\texttt{{{part}}}" if n % 2 else part for n, part in enumerate(plain))


def head(text: str, numeric: bool = False) -> str:
    """Return a head for LaTeX: AP50 and AP_S with an index as papers print them, +- as one sign, long ones in two lines."""
    lines = [_head_line(line) for line in _two_lines(text)]
    if len(lines) == 1:
        return lines[0]
    stack = " \\\\ ".join(lines)
    return f"\\shortstack[{'r' if numeric else 'l'}]{{{stack}}}"


def _head_line(text: str) -> str:
    if index := re.fullmatch(r"AP_?(50|75|S|M|L)( .*)?", text):
        return f"AP$_{{{index[1]}}}${escape(index[2] or '')}"
    return "$\\pm$" if text == "+-" else escape(text)


def _row(cells: list[str]) -> str:
    return f"    {' & '.join(cells)} \\\\"


def _spans(table: Table) -> list[str]:
    """The heads above the heads, each with a rule under it."""
    if not table.spans:
        return []
    cells, rules, n = [], [], 0
    for span in sorted(table.spans, key=lambda s: s.first):
        cells += [""] * (span.first - n)
        lines = " \\\\ ".join(map(escape, _span_lines(table, span)))
        text = f"\\shortstack{{{lines}}}" if "\\\\" in lines else lines
        cells.append(f"\\multicolumn{{{span.last - span.first + 1}}}{{c}}{{{text}}}")
        rules.append(f"\\cmidrule(lr){{{span.first + 1}-{span.last + 1}}}")
        n = span.last + 1
    cells += [""] * (len(table.heads) - n)
    return [_row(cells), f"    {' '.join(rules)}"]
