"""A table in LaTeX, with booktabs, as it can stand in a paper."""

from __future__ import annotations

import re

from upbench.report.formats.table import Rank, Table, letter

NEEDS = "% needs \\usepackage{booktabs}"
EMPHASIS = {Rank.none: "{}", Rank.best: "\\textbf{{{}}}", Rank.second: "\\underline{{{}}}"}
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
# A bracket is put in braces: at the beginning of a row LaTeX would take it for the optional argument of the \\ before.


def table(sheet: Table) -> str:
    """A `table` environment: caption, label, rules of booktabs, bold and underline, footnotes and notes below."""
    width = len(sheet.heads)
    columns = "".join("r" if numeric else "l" for numeric in sheet.numeric)
    lines = [NEEDS, "\\begin{table}[t]", "  \\centering", f"  \\caption{{{escape(sheet.title)}}}"]
    if sheet.label:
        lines.append(f"  \\label{{tab:{re.sub(r'[^A-Za-z0-9:-]', '-', sheet.label)}}}")
    lines += ["  \\small", "  \\setlength{\\tabcolsep}{4pt}", f"  \\begin{{tabular}}{{{columns}}}", "    \\toprule"]
    lines += _spans(sheet)
    lines.append(_row([head(text) + _mark(sheet, -1, n) for n, text in enumerate(sheet.heads)]))
    lines.append("    \\midrule")
    for m, row in enumerate(sheet.rows):
        if m in sheet.groups:
            lines += ["    \\midrule"] if m else []
            lines.append(f"    \\multicolumn{{{width}}}{{l}}{{\\textit{{{escape(sheet.groups[m])}}}}} \\\\")
        lines.append(
            _row([EMPHASIS[sheet.rank(m, n)].format(escape(t)) + _mark(sheet, m, n) for n, t in enumerate(row)])
        )
    lines += ["    \\bottomrule", "  \\end{tabular}"]
    under = [f"\\textsuperscript{{{letter(n)}}}\\,{escape(text)}." for n, text in enumerate(sheet.footnotes)]
    under += [escape(note) for note in sheet.notes]
    if under:
        lines += ["", "  \\medskip", "  \\begin{minipage}{\\linewidth}\\footnotesize\\raggedright"]
        lines += [f"    {text}\\par" for text in under]
        lines.append("  \\end{minipage}")
    return "\n".join([*lines, "\\end{table}"]) + "\n"


def escape(text: str) -> str:
    """Plain text for LaTeX; `code` in backquotes is set in typewriter."""
    parts = re.split(r"`([^`]*)`", text)
    plain = ["".join(SPECIAL.get(c, c) for c in part).replace("--", "-{}-") for part in parts]
    return "".join(f"\\texttt{{{part}}}" if n % 2 else part for n, part in enumerate(plain))


def head(text: str) -> str:
    """A head: AP50 and AP_S with an index as papers print them, +- as one sign."""
    if found := re.fullmatch(r"AP_?(50|75|S|M|L)( .*)?", text):
        return f"AP$_{{{found[1]}}}${escape(found[2] or '')}"
    return "$\\pm$" if text == "+-" else escape(text)


def _row(cells: list[str]) -> str:
    return f"    {' & '.join(cells)} \\\\"


def _mark(sheet: Table, row: int, column: int) -> str:
    letters = sheet.letters(row, column)
    return f"\\textsuperscript{{{letters}}}" if letters else ""


def _spans(sheet: Table) -> list[str]:
    """The heads above the heads, each with a rule under it."""
    if not sheet.spans:
        return []
    cells, rules, n = [], [], 0
    for span in sorted(sheet.spans, key=lambda s: s.first):
        cells += [""] * (span.first - n)
        cells.append(f"\\multicolumn{{{span.last - span.first + 1}}}{{c}}{{{escape(span.text)}}}")
        rules.append(f"\\cmidrule(lr){{{span.first + 1}-{span.last + 1}}}")
        n = span.last + 1
    cells += [""] * (len(sheet.heads) - n)
    return [_row(cells), f"    {' '.join(rules)}"]
