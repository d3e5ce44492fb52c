"""A table in LaTeX, with booktabs, as it can stand in a paper."""

from __future__ import annotations

import re

from upbench.report.formats.table import Rank, Table, letter

NEEDS = "% needs \\usepackage{booktabs}"
"""The comment that names the package which the tables need."""
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
    """Return a `table` environment: caption, label, rules of booktabs, bold and underline, footnotes and notes below."""
    width = len(table.heads)
    columns = "".join("r" if numeric else "l" for numeric in table.numeric)
    lines = [NEEDS, "\\begin{table}[t]", "  \\centering", f"  \\caption{{{escape(table.title)}}}"]
    if table.label:
        lines.append(f"  \\label{{tab:{re.sub(r'[^A-Za-z0-9:-]', '-', table.label)}}}")
    lines += ["  \\small", "  \\setlength{\\tabcolsep}{4pt}", f"  \\begin{{tabular}}{{{columns}}}", "    \\toprule"]
    lines += _spans(table)
    lines.append(_row([head(text) + _mark(table, -1, n) for n, text in enumerate(table.heads)]))
    lines.append("    \\midrule")
    for m, row in enumerate(table.rows):
        if m in table.groups:
            lines += ["    \\midrule"] if m else []
            lines.append(f"    \\multicolumn{{{width}}}{{l}}{{\\textit{{{escape(table.groups[m])}}}}} \\\\")
        lines.append(
            _row([EMPHASIS[table.rank(m, n)].format(escape(t)) + _mark(table, m, n) for n, t in enumerate(row)])
        )
    lines += ["    \\bottomrule", "  \\end{tabular}"]
    under = [f"\\textsuperscript{{{letter(n)}}}\\,{escape(text)}." for n, text in enumerate(table.footnotes)]
    under += [escape(note) for note in table.notes]
    if under:
        lines += ["", "  \\medskip", "  \\begin{minipage}{\\linewidth}\\footnotesize\\raggedright"]
        lines += [f"    {text}\\par" for text in under]
        lines.append("  \\end{minipage}")
    return "\n".join([*lines, "\\end{table}"]) + "\n"


def escape(text: str) -> str:
    """Return plain text for LaTeX; `code` in backquotes is set in typewriter."""
    parts = re.split(r"`([^`]*)`", text)
    plain = ["".join(SPECIAL.get(c, c) for c in part).replace("--", "-{}-").replace("+-", "$\\pm$") for part in parts]
    return "".join(f"\\texttt{{{part}}}" if n % 2 else part for n, part in enumerate(plain))


def head(text: str) -> str:
    """Return a head for LaTeX: AP50 and AP_S with an index as papers print them, +- as one sign."""
    if index := re.fullmatch(r"AP_?(50|75|S|M|L)( .*)?", text):
        return f"AP$_{{{index[1]}}}${escape(index[2] or '')}"
    return "$\\pm$" if text == "+-" else escape(text)


def _row(cells: list[str]) -> str:
    return f"    {' & '.join(cells)} \\\\"


def _mark(table: Table, row: int, column: int) -> str:
    letters = table.letters(row, column)
    return f"\\textsuperscript{{{letters}}}" if letters else ""


def _spans(table: Table) -> list[str]:
    """The heads above the heads, each with a rule under it."""
    if not table.spans:
        return []
    cells, rules, n = [], [], 0
    for span in sorted(table.spans, key=lambda s: s.first):
        cells += [""] * (span.first - n)
        cells.append(f"\\multicolumn{{{span.last - span.first + 1}}}{{c}}{{{escape(span.text)}}}")
        rules.append(f"\\cmidrule(lr){{{span.first + 1}-{span.last + 1}}}")
        n = span.last + 1
    cells += [""] * (len(table.heads) - n)
    return [_row(cells), f"    {' '.join(rules)}"]
