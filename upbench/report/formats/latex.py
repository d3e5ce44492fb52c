"""A table in LaTeX, with booktabs, as it can stand in a paper."""

from __future__ import annotations

import re
import zlib
from dataclasses import replace

from upbench.report.formats import latex_text
from upbench.report.formats.latex_form import (
    COLUMN_PT,
    EDGE,
    SIZES,
    Form,
    cell_lines,
    form_of,
    head_text,
    is_high,
    lines_of_head,
    span_lines,
)
from upbench.report.formats.latex_text import escape, points
from upbench.report.formats.latex_verdicts import with_signs
from upbench.report.formats.table import Rank, Table, letter, sentence

NEEDS = "% needs \\usepackage{booktabs}"
"""The comment that names the package which the tables need."""
NEEDS_NOTES = " and \\usepackage{tablefootnote}"
"""What follows it where a table has notes."""
SMALLEST = SIZES[-1][0]
"""The smallest size of type."""
EMPHASIS = {Rank.none: "{}", Rank.best: "\\textbf{{{}}}", Rank.second: "\\underline{{{}}}"}
"""The command of each rank."""


def environment(table: Table) -> str:
    """Return a `table` environment: caption, label, rules of booktabs, bold and underline, notes as `tablefootnote` sets them.

    The type is the largest with which the table fits a column of 229 pt (of 240 pt all the more), or with `star` a page; a
    table which a column holds in \\tiny alone goes over the page as well. There notes stand below the rows: `tablefootnote`
    prints none of a `table*`.
    """
    asked = table.star
    table, signs = with_signs(table)
    if signs and table.notes:
        table = replace(table, notes=[*table.notes, signs])
    table, form = _room(table)
    name = "table*" if table.star else "table"
    footnotes = _Footnotes(table)
    said = "; ".join(part for part in (table.title, table.condition) if part)
    caption = escape(said) if table.caption is None else latex_text.caption(table.caption)
    lines = [f"\\begin{{{name}}}[t]", "  \\centering", f"  \\caption{{{caption}}}"]
    if table.label:
        lines.append(f"  \\label{{{footnotes.label}}}")
    lines += [f"  \\{form.size}", f"  \\setlength{{\\tabcolsep}}{{{form.gap:g}pt}}"]
    lines += [f"  \\begin{{tabular}}{{{form.columns}}}", "    \\toprule"]
    lines += _spans(table, form)
    heads = [
        head(head_text(table, n, form), table.numeric[n], form.tight, n in table.written) + footnotes.mark(-1, n)
        for n in range(len(table.heads))
    ]
    lines += _rows([*heads[:-1], f"{heads[-1]}{footnotes.general()}"] if heads else [], form.above)
    lines.append("    \\midrule")
    for m, row in enumerate(table.rows):
        if m in table.groups:
            lines += ["    \\midrule"] if m else []
            lines.append(
                f"    \\multicolumn{{{len(heads)}}}{{{EDGE}l{EDGE}}}{{\\textit{{{escape(table.groups[m])}}}}} \\\\"
            )
        cells = [EMPHASIS[table.rank(m, n)].format(_stacked(cell_lines(table, m, n, form))) for n in range(len(row))]
        texts = [text + footnotes.mark(m, n) for n, text in enumerate(cells)]
        if form.wraps is not None:
            texts[form.wraps] = _wrapping(texts[form.wraps], last=form.wraps == len(row) - 1)
        lines += _rows(texts, form.above)
    lines += ["    \\bottomrule", "  \\end{tabular}", *footnotes.below(), f"\\end{{{name}}}"]
    needs = NEEDS + (NEEDS_NOTES if footnotes.used else "")
    meant = [f"% {signs}"] if signs and not table.notes else []
    high = is_high(table, form, " ".join(footnotes.below()))
    return "\n".join([needs, *_comments(table, form, asked, high), *meant, *lines]) + "\n"


def _room(table: Table) -> tuple[Table, Form]:
    """Return a table with its form: over both columns of the page where one holds it in the smallest type alone, or not at all."""
    form = form_of(table)
    if table.star or form.size != SMALLEST:
        return table, form
    wide = replace(table, star=True)
    return wide, form_of(wide)


def _comments(table: Table, form: Form, asked: bool, high: bool) -> list[str]:
    """Return comments where a table is over both columns without being asked to, is larger than the page, or in tiny type."""
    larger = [f"% higher than a page: its {len(table.rows)} rows, or their notes, are too many for one"] if high else []
    if not form.fits:
        return [*larger, f"% wider than the page, even in \\{form.size}: fewer --columns make it fit"]
    if form.size == SMALLEST:
        return [*larger, f"% fits in \\{form.size} alone: fewer --columns make it larger"]
    over = "% over both columns of the page (table*): fewer --columns make it fit one"
    return [*larger, *([] if asked or not table.star else [over])]


class _Footnotes:
    """The footnotes of a table: the first use of one holds its text, the others its number.

    Over both columns of a page they stand below the rows, and cells have their letters alone.
    """

    def __init__(self, table: Table) -> None:
        named = re.sub(r"[^A-Za-z0-9:_.+-]", "-", table.label)
        self.label = named if table.label_is_whole else f"tab:{named}"
        self.used = False
        self._table = table
        self._seen: dict[int, str] = {}
        # Without a label the text says which table it is: two tables of one document must not share a name.
        self._key = self.label.removeprefix("tab:") or f"{zlib.crc32(repr((table.title, table.rows)).encode()):08x}"

    def mark(self, row: int, column: int) -> str:
        """Return the footnotes of a cell, or of a head where the row is -1."""
        numbers = self._table.refs.get((row, column), [])
        if self._table.star and numbers:
            letters = [self._seen.setdefault(number, letter(len(self._seen))) for number in numbers]
            return f"\\textsuperscript{{{','.join(letters)}}}"
        marks = []
        for number in numbers:
            name = f"fn:{self._key}-{letter(number)}"
            if number in self._seen:
                marks.append(f"\\textsuperscript{{\\ref{{{name}}}}}")
            else:
                self._seen[number] = name
                self.used = True
                marks.append(f"\\tablefootnote{{\\label{{{name}}}{self._text(number)}}}")
        return "\\textsuperscript{,}".join(marks)

    def general(self) -> str:
        """Return the notes on the whole table as one footnote; empty where there is none, or they stand below."""
        notes = "" if self._table.star else self._of_the_whole()
        self.used |= bool(notes)
        return f"\\tablefootnote{{{notes}}}" if notes else ""

    def below(self) -> list[str]:
        """Return the lines below the rows of a table over both columns: its footnotes by their letters, then the other notes."""
        texts = [f"\\textsuperscript{{{mark}}}{self._text(number)}" for number, mark in self._seen.items()]
        whole = self._of_the_whole()
        if not self._table.star or not (texts or whole):
            return []
        said = " ".join([*texts, *([whole] if whole else [])])
        return ["", "  \\smallskip", f"  \\parbox{{\\linewidth}}{{\\footnotesize\\raggedright {said}}}"]

    def _text(self, number: int) -> str:
        return f"{escape(sentence(self._table.footnotes[number]))}."

    def _of_the_whole(self) -> str:
        notes = map(sentence, self._table.exported())
        return " ".join(escape(note if note.endswith((".", ";", ":")) else f"{note}.") for note in notes)


def _stacked(lines: list[str]) -> str:
    """Return a cell of several lines, whose first one stands on the line of the row."""
    if len(lines) == 1:
        return lines[0]
    stack = " \\\\ ".join(lines)
    return f"\\begin{{tabular}}[t]{{@{{}}r@{{}}}}{stack}\\end{{tabular}}"


def _wrapping(text: str, last: bool = False) -> str:
    """Return a text that wraps: at the signs of a name too, and in its first word. In a last column the end of the row stays one."""
    row = "\\let\\\\\\tabularnewline" if last else ""
    return f"\\raggedright{row}\\hspace{{0pt}}" + re.sub(r"(\\_|[:=/])(?=\w)", r"\1\\penalty200{}", text)


def head(text: str, numeric: bool, tight: bool, written: bool = False) -> str:
    """Return a head for LaTeX: AP50 and AP_S with an index as papers print them, +- as one sign, long ones in several lines.

    One that was written for LaTeX stays as it is.
    """
    lines = [latex_text.caption(line) if written else _head_line(line) for line in lines_of_head(text, tight)]
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


def _rows(cells: list[str], above: bool) -> list[str]:
    """Return a row, in two lines where its first cell stands above the others."""
    if not above:
        return [_row(cells)]
    named = f"\\rlap{{{cells[0]}}}" if points(cells[0]) <= COLUMN_PT else _wrapping(cells[0])
    kind = "l" if named.startswith("\\rlap") else f"p{{{COLUMN_PT:g}pt}}"
    return [_row([f"\\multicolumn{{{len(cells)}}}{{{EDGE}{kind}{EDGE}}}{{{named}}}"]), _row(["", *cells[1:]])]


def _spans(table: Table, form: Form) -> list[str]:
    """The heads above the heads, each with a rule under it."""
    if not table.spans:
        return []
    cells, rules, n = [], [], 0
    for span in sorted(table.spans, key=lambda s: s.first):
        cells += [""] * (span.first - n)
        lines = " \\\\ ".join(map(latex_text.caption if span.written else escape, span_lines(table, span, form)))
        text = f"\\shortstack{{{lines}}}" if "\\\\" in lines else lines
        cells.append(f"\\multicolumn{{{span.last - span.first + 1}}}{{c}}{{{text}}}")
        rules.append(f"\\cmidrule(lr){{{span.first + 1}-{span.last + 1}}}")
        n = span.last + 1
    cells += [""] * (len(table.heads) - n)
    return [_row(cells), f"    {' '.join(rules)}"]
