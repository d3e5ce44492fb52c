"""A table in every format: whole, escaped, readable, and without torch."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests import record_builder
from tests.command_line import upbench
from tests.report.test_table import shown
from upbench.report.formats import terminal
from upbench.report.formats.table import Table

FORMATS = ("table", "markdown", "csv", "latex", "html", "json")


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_holds_every_row_and_goes_to_a_file(tmp_path: Path, form: str) -> None:
    text = shown(tmp_path, record_builder.theta_sweep(), form=form)
    for value in ("39.2", "38.7"):
        assert value in text
    out = tmp_path / "out"
    result = upbench("table", tmp_path / "r.jsonl", "--format", form, "--output", out, env={"FORCE_COLOR": "1"})
    assert result.stdout == ""
    assert "39.2" in out.read_text()
    assert "\x1b" not in out.read_text()


def test_latex_is_whole(tmp_path: Path) -> None:
    records = record_builder.theta_sweep() + record_builder.theta_sweep(torch="2.9+50%_#&")
    text = shown(tmp_path, records, form="latex")
    assert text.startswith("% needs \\usepackage{booktabs}\n"), "over both columns notes stand below the rows"
    begun = re.findall(r"\\begin\{(\w+)\*?\}", text)
    ended = re.findall(r"\\end\{(\w+)\*?\}", text)
    assert sorted(begun) == sorted(ended) == ["table", "tabular"]
    columns = re.search(r"\\begin\{tabular\}\{@\{\}(\w+)@\{\}\}", text)
    assert columns is not None
    body = text.split("\\toprule")[1].split("\\bottomrule")[0]
    body = re.sub(r"\\shortstack\[\w\]\{[^{}]*\}", "head", body)  # a head of several lines is one cell
    for line in body.split("\\\\")[:-1]:
        cells = re.sub(r"\\&", "", line).count("&") + 1
        spans = [int(n) for n in re.findall(r"\\multicolumn\{(\d+)\}", line)]
        assert cells + sum(spans) - len(spans) == len(columns[1])
    comments = [line for line in text.splitlines() if line.startswith("%")]
    assert comments == text.splitlines()[: len(comments)], "nothing else begins a comment"
    plain = re.sub(r"\\[\\{}&%$#_]", "", "\n".join(text.splitlines()[len(comments) :]))
    assert plain.count("{") == plain.count("}")
    assert not re.search(r"(?<!\\)[#%]", plain)
    assert "AP$_{50}$" in text
    assert "\\textbf{39.2}" in text
    assert "\\underline{39.1}" in text
    assert "\\cmidrule(lr){2-7}" in text


class Whole(HTMLParser):
    """Follows the tags of a page: every one is closed in its turn."""

    VOID = ("meta",)

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.rows: list[int] = []
        self.scopes: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append(0)
        if tag in ("td", "th"):
            self.rows[-1] += int(given.get("colspan") or 1)
        self.scopes += [given["scope"] or ""] if "scope" in given else []
        self.ids |= {given["id"] or ""} if "id" in given else set()
        self.links |= {(given["href"] or "")[1:]} if "href" in given else set()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_whole_and_accessible(tmp_path: Path) -> None:
    records = [
        *record_builder.theta_sweep(),
        record_builder.record(axes={"theta": 15}, cell=9, status="oom", error="<b>&"),
    ]
    text = shown(tmp_path, records, form="html")
    page = Whole()
    page.feed(text)
    assert page.open == []
    assert len(set(page.rows)) == 1
    assert page.links
    assert page.links <= page.ids
    assert {"col", "row", "colgroup"} <= set(page.scopes)
    assert "<caption>A made sweep</caption>" in text
    assert "<b>39.2</b>" in text
    assert "&lt;b&gt;&amp;" in text


def test_a_terminal_shows_bold_and_underline_and_keeps_its_width(tmp_path: Path) -> None:
    file = record_builder.file(tmp_path / "r.jsonl", record_builder.theta_sweep())
    narrow = upbench("table", file, env={"COLUMNS": "80"}).stdout
    assert max(len(line) for line in narrow.splitlines()) <= 80
    assert sum(line.startswith(" theta") for line in narrow.splitlines()) == 2
    for head in ("AP [a]", "AP_L [a]", "Params", "Latency", "Memory"):
        assert head in narrow
    assert "\x1b" not in narrow
    wide = upbench("table", file, env={"COLUMNS": "200"}).stdout
    assert sum(line.startswith(" theta") for line in wide.splitlines()) == 1
    styled = subprocess.run(
        [sys.executable, "-m", "upbench", "table", str(file)],
        capture_output=True, text=True, check=True, env={"FORCE_COLOR": "1", "COLUMNS": "200", "PATH": ""},
    ).stdout  # fmt: skip
    assert "\x1b[1m39.2\x1b[0m" in styled
    assert "\x1b[4m39.1\x1b[0m" in styled


def test_a_terminal_shows_names_as_they_are_written() -> None:
    """Between two colons `Up` is an arrow to those who draw tables."""
    name = "mine.up:Up:gain=2 [x] <y>"
    drawn = terminal.draw(Table("", ["Upsampler", "Params"], [[name, "1"]], [False, True], [], []), width=100)
    assert name in drawn


@pytest.mark.parametrize("command", ["table", "effects"])
def test_torch_is_not_loaded_and_pandas_only_for_csv(tmp_path: Path, command: str) -> None:
    file = record_builder.file(tmp_path / "r.jsonl", record_builder.theta_sweep())
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from upbench.cli.app import app\n"
        "def run(form, *more):\n"
        "    try:\n        app([*sys.argv[1:], '--format', form, *more])\n"
        "    except SystemExit as end:\n        assert not end.code\n"
        "    return [m for m in ('fvcore', 'matplotlib', 'pandas') if m in sys.modules]\n"
        "for form in ('table', 'markdown', 'latex', 'html', 'json'):\n"
        "    assert run(form) == [], form\n"
        f"assert run('csv', {'*()' if command == 'table' else repr('--part=front')}) == ['pandas']\n"
    )
    done = subprocess.run([sys.executable, "-c", code, command, str(file)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("39.2") >= 6


def test_markdown_shows_what_an_error_says_and_takes_it_for_no_html(tmp_path: Path) -> None:
    error = "TypeError: <class 'Up'> takes `<x>`"
    failed = record_builder.record(axes={"theta": 3}, theta=3, status="error", error=error, published="lda-aqu/table5")
    text = shown(tmp_path, [failed, *record_builder.theta_sweep()])
    assert "&lt;class 'Up'> takes `<x>`" in text
    assert "<class" not in text
    assert "<u>" in text
