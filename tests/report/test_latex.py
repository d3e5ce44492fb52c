"""LaTeX tables: what stands around them, and that they fit a column where TeX is there to say so."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests import record_builder
from tests.command_line import refused, upbench
from upbench.analysis.stats import Verdict
from upbench.report.formats import latex, latex_text, latex_verdicts
from upbench.report.formats.table import Rank, Table

PAPER = r"""\documentclass[10pt,twocolumn]{article}
\usepackage{booktabs,tablefootnote}
\setlength{\textwidth}{500pt}\setlength{\columnsep}{20pt}
\begin{document}
%s
Words. \clearpage
\end{document}
"""


@pytest.fixture
def results(tmp_path: Path) -> Path:
    cells = [
        record_builder.record(axes={"theta": t}, cell=n, theta=t, params=39_410, flops=2_034_662_418, latency_s=0.0846)
        for n, t in enumerate((5, 11))
    ]
    failed = record_builder.record(axes={"theta": 15}, theta=15, cell=9, status="oom", error="3 GiB_{x} & more")
    return record_builder.file(tmp_path / "r.jsonl", [*cells, failed])


def test_caption_label_and_star_are_those_that_were_given(results: Path) -> None:
    given = ("--caption", "Cost of the *range*, in $x$.", "--label", "tab:cost", "--star")
    text = upbench("table", results, "--format", "latex", *given).stdout
    assert "\\begin{table*}[t]" in text
    assert "\\end{table*}" in text
    assert "\\caption{Cost of the *range*, in $x$.}" in text
    assert "\\label{tab:cost}" in text
    plain = upbench("table", results, "--format", "latex").stdout
    assert "\\begin{table}[t]" in plain
    assert "\\caption{A made sweep; shape" in plain


def test_a_caption_may_hold_signs_of_latex_and_formulas(results: Path) -> None:
    given = r"50% & #1 of best_one, 60\% in $x_1 \% 2$; see \cref{tab:a_b} and \textbf{it}"
    text = upbench("table", results, "--format", "latex", "--caption", given, "--label", "tab:a_b").stdout
    assert r"\caption{50\% \& \#1 of best\_one, 60\% in $x_1 \% 2$; see \cref{tab:a_b} and \textbf{it}}" in text
    assert "\\label{tab:a_b}" in text
    assert "a formula begins with $ and does not end; write \\$ for a dollar" in refused(
        "table", results, "--format", "latex", "--caption", r"of $k and \$"
    )
    assert upbench("table", results, "--format", "latex", "--caption", r"of $k$ and \$").exit_code == 0
    assert "its braces do not match" in refused("table", results, "--format", "latex", "--caption", "set {x")
    assert "its braces do not match" in refused("table", results, "--format", "latex", "--caption", "}x{")


def test_thousands_are_separated_and_notes_are_footnotes_or_none(results: Path) -> None:
    text = upbench("table", results, "--format", "latex").stdout
    assert "39,410" in text
    assert "siunitx" not in text
    assert "OOM\\tablefootnote{\\label{fn:" in text
    assert "3 GiB\\_\\{x\\} \\& more" in text
    quiet = upbench("table", results, "--format", "latex", "--quiet").stdout
    assert "footnote" not in quiet
    assert upbench("table", results, "--format", "latex", "--notes", "none").stdout == quiet
    assert "did you mean 'none'?" in refused("table", results, "--notes", "non")


def long_names(folder: Path) -> list[str]:
    """Return tables of the columns of a comparison with long names of upsamplers, without and with accuracy."""
    macs = 854_020_000
    records = [
        record_builder.record("ldaaqu", sweep=False, latency_s=0.00124, params=22_888, flops=macs, theta=5, groups=4),
        record_builder.record(
            "carafe",
            sweep=False,
            latency_s=0.000785,
            params=22_888,
            flops=macs,
            k_up=3,
            groups=2,
            compressed=32,
            dilation=3,
        ),
    ]
    (folder / "ap.csv").write_text("name,AP\nldaaqu:theta=5,38.2\n")
    file = record_builder.file(folder / "long.jsonl", records)
    latex = ["--format", "latex", "-q"]
    costs = ["--columns", "params,macs,latency,ratio,peak-memory"]
    accuracy = ["--columns", "AP,params,macs,latency,iqr,samples,peak-memory", "--accuracy", folder / "ap.csv"]
    return [upbench("table", file, *latex, *costs).stdout, upbench("table", file, *latex, *accuracy).stdout]


def test_long_names_do_not_make_the_type_tiny(tmp_path: Path) -> None:
    plain, with_accuracy = long_names(tmp_path)
    for text in (plain, with_accuracy):
        assert re.search(r"\\(footnotesize|scriptsize)", text), text
    assert "compressed=\\penalty200{}32" in plain
    assert "\\begin{tabular}{@{}p{" in plain
    assert re.search(r"\\multicolumn\{8\}\{@\{\}l@\{\}\}\{\\rlap\{ldaaqu", with_accuracy), with_accuracy


def test_tables_compile_in_a_column_of_a_paper_and_fit_it(results: Path, tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    if subprocess.run(["kpsewhich", "tablefootnote.sty"], capture_output=True).returncode:
        pytest.skip("tablefootnote.sty is not installed")
    published = record_builder.file(tmp_path / "p.jsonl", record_builder.theta_sweep())
    few = ["--shape", "32x6x5", "--budget", "0.01", "--device", "cpu", "--threads", "1"]
    tables = [
        upbench("table", results, "--format", "latex", "-v").stdout,
        upbench("table", published, "--format", "latex", "--star", "--columns", "published,paper").stdout,
        upbench("table", published, "--format", "latex", "--columns", "AP,paper").stdout,
        upbench("compare", "ldaaqu", "dysample", "carafe:k_up=3,groups=2", *few, "--format", "latex").stdout,
        upbench("list", "--shapes", "--format", "latex", "--star").stdout,
        upbench("table", published, "--format", "latex", "--base", "theta=11", "-v").stdout,
        upbench("effects", published, "--format", "latex", "-v").stdout,
        upbench("diff", published, published, "--format", "latex").stdout,
        upbench("reproduce", "lda-aqu/table1", "--format", "latex").stdout,
        *long_names(tmp_path),
    ]
    (tmp_path / "paper.tex").write_text(PAPER % "\n".join(tables))
    for _ in range(2):
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
            cwd=tmp_path, capture_output=True, text=True, errors="replace",
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:]
    log = (tmp_path / "paper.log").read_text(errors="replace")
    assert re.findall(r"Overfull \\hbox.*", log) == []
    assert "undefined references" not in log
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000


def test_notes_of_a_table_over_both_columns_stand_below_its_rows(tmp_path: Path) -> None:
    """The package tablefootnote prints none of a table*, and says nothing."""
    published = record_builder.file(tmp_path / "p.jsonl", record_builder.theta_sweep())
    text = upbench("table", published, "--format", "latex", "--star", "-v").stdout
    assert "tablefootnote" not in text
    assert text.startswith("% needs \\usepackage{booktabs}\n")
    rows, _, below = text.partition("\\end{tabular}")
    marks = set(re.findall(r"\\textsuperscript\{(\w+)\}", rows))
    assert marks
    assert marks == set(re.findall(r"\\textsuperscript\{(\w+)\}", below))
    assert "\\parbox{\\linewidth}" in below
    assert "Published, not measured here" in below
    assert "noise floor" in below.lower()
    quiet = upbench("table", published, "--format", "latex", "--star", "-q").stdout
    assert "parbox" not in quiet
    assert "textsuperscript" not in quiet


def test_a_text_that_a_page_does_not_hold_wraps_and_rows_that_it_does_not_hold_are_said() -> None:
    wordy = Table(
        title="t",
        heads=["Name", "Found"],
        rows=[["a", "word " * 100]] * 3,
        numeric=[False, False],
        raw_heads=[],
        raw_rows=[],
        notes=[],
        star=True,
    )
    text = latex.environment(wordy)
    assert re.search(r"\\begin\{tabular\}\{@\{\}lp\{\d+pt\}@\{\}\}", text)
    assert text.count("\\let\\\\\\tabularnewline") == 3, "the last column of a row wraps, and the row ends"
    assert "% wider" not in text
    assert "% higher" not in text
    assert "% higher than a page: its 40 rows" in latex.environment(replace(wordy, rows=wordy.rows[:1] * 40))


def test_a_table_that_a_column_holds_in_tiny_type_alone_goes_over_the_page_and_says_so(tmp_path: Path) -> None:
    file = record_builder.file(tmp_path / "p.jsonl", record_builder.theta_sweep())
    columns = ["params", "macs", "latency", "iqr", "samples", "interval", "peak-memory", "saved-memory", "op-count"]
    said = {}
    wider = [*columns, "published", "workspace", "throughput", "latency-min", "latency-p99", "output-digest"]
    for count in range(1, len(wider) + 1):
        names = ",".join(wider[:count])
        text = upbench("table", file, "--format", "latex", "-q", "--columns", names).stdout
        size = re.search(r"^  \\(\w+)$", text.split("caption")[1], re.MULTILINE)
        assert size is not None
        star = "begin{table*}" in text
        assert star == text.endswith("\\end{table*}\n")
        said[count] = (size[1], star, re.findall(r"^% (fits|wider|over)", text, re.MULTILINE))
    assert said[1] == ("small", False, [])
    assert said[len(columns)][1:] == (True, ["over"])
    assert said[len(wider)] == ("tiny", True, ["wider"])
    assert all(bool(comment) == star for _, star, comment in said.values())
    text = upbench("table", file, "--format", "latex", "-q", "--star", "--columns", ",".join(columns)).stdout
    assert "% over" not in text  # it was asked for


def test_a_ratio_has_a_sign_where_it_is_not_told_apart_and_what_it_means_is_said() -> None:
    """In a paper the number itself says faster or slower; the words made tables too wide for a column."""
    assert set(latex_verdicts.SIGNS) == set(Verdict)
    ratios = ["1 (reference)", "0.92x FASTER", "1.02x SAME", "0.97x UNSURE", "2.00x SLOWER", "failed"]
    rows = [[str(n), ratio] for n, ratio in enumerate(ratios)]
    table = Table("Range", ["theta", "Ratio"], rows, [True, True], [], [], notes=["A CPU."])
    text = latex.environment(table)
    signs = re.findall(r"^    \d & (\S+) \\\\", text, re.MULTILINE)
    assert signs == [
        "1", "0.92$\\times$", "1.02$\\times^{=}$", "0.97$\\times^{?}$", "2.00$\\times$", "failed",
    ]  # fmt: skip
    assert (
        "A CPU. Ratios: of latencies, to that of the row with 1; =: the same within 5 \\%; ?: not told from 1.}" in text
    )
    bare = latex.environment(replace(table, notes=[]))  # whoever writes the notes finds it in a comment
    assert "% Ratios: of latencies, to that of the row with 1; =: the same within 5 %; ?: not told from 1\n" in bare
    told_apart = latex.environment(replace(table, rows=[*rows[:2], *rows[4:]]))
    assert "row with 1.}" in told_apart


def test_a_caption_says_at_what_shape_and_a_number_has_a_minus_sign(results: Path) -> None:
    text = upbench("table", results, "--format", "latex", "--columns", "latency").stdout
    assert re.search(r"\\caption\{.+; shape \d+x\d+x\d+, x2, batch 1\}", text)
    assert latex_text.cell("-110.6K", True) == "$-$110.6K"
    assert latex_text.cell("-", True) == "-"
    own = upbench("table", results, "--format", "latex", "--caption", "Mine.").stdout
    assert "\\caption{Mine.}" in own


@pytest.mark.parametrize(
    ("text", "set_by_tex"),
    [
        ("$-$1.0", 20.56),
        ("39.0 $\\pm$ 0.1", 45.0),
        ("$\\times$", 7.78),
        ("$\\times^{=}$", 14.42),
        ("$\\times^{?}$", 12.05),
    ],
)
def test_signs_are_as_wide_as_tex_sets_them(text: str, set_by_tex: float) -> None:
    assert latex_text.points(text) == pytest.approx(set_by_tex, rel=0.02)


def test_the_columns_of_a_paper_fit_its_column_for_a_sweep_of_two_axes() -> None:
    heads = ["kernel", "compressed", "Params", "FLOPs", "Latency", "Ratio", "Memory"]
    rows = [
        ["3", "16", "38160", "9.70M", "817 us", "1 (reference)", "0.50 MiB"],
        ["3", "32", "76064", "19.40M", "1.25 ms", "1.53x SLOWER", "0.56 MiB"],
        ["5", "64", "414016", "105.91M", "4.36 ms", "5.34x SLOWER", "1.94 MiB"],
    ]
    numeric = [n > 1 for n in range(7)]
    best = {(0, n): Rank.best for n in (2, 3, 4, 6)}
    text = latex.environment(Table("t", heads, rows, numeric, [], [], notes=["Some CPU"], ranks=best, lead=2))
    assert "\\begin{table}[t]" in text
    assert "\\begin{tabular}{@{}llrrrrr@{}}" in text
    assert "% over" not in text
