"""An output never takes the place of what the command reads, of source code, or of results in another format."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command_line import upbench
from upbench.cli import own_files
from upbench.quality import tables as quality
from upbench.report.formats import render
from upbench.report.tables import deploy, effects, sites
from upbench.sweeping import runner

FAST = ["--shape", "8x6x5", "--budget", "0.01", "--device", "cpu"]
MODULE = """
from torch import nn
class Up(nn.Module):
    def __init__(self, channels, scale=2):
        super().__init__()
        self.up = nn.Upsample(scale_factor=scale)
    def forward(self, x):
        return self.up(x)
"""
SPEC = "upsampler: bilinear\nchannels: 8\ninput: {shape: 8x6x5}\n"
SWEEP = (
    "name: few\nbase: {upsampler: bilinear}\ninput: {shape: 8x6x5}\nmeasure: {budget: 0.01}\ngrid: {scale: [2, 3]}\n"
)


BY_HAND = {
    "results.tex": b"As Table 1 shows,\n\\begin{tabular}{l}\nparams\\\\\n\\end{tabular}\n",
    "page.html": b"<!doctype html>\n<table><caption>upbench</caption></table>\n",
    "ap.csv": b"params,AP\n41,37.5\n",
    "list.json": b'[{"params": 41}]',
    "todo.txt": b"run upbench\n",
    "readme.md": b"# Results\n",
    "photo.png": b"\x89PNG\r\n\x1a\n" + bytes(29) + b"tEXtSoftware\0gimp",
    "paper.pdf": b"%PDF-1.7 /Producer (pdfTeX)",
    "drawn.svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "own.parquet": b"PAR1 PAR1",
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a module, a spec, a sweep with its results, a record as JSON, and a baseline."""
    made = tmp_path_factory.mktemp("written")
    (made / "own.py").write_text(MODULE)
    (made / "spec.yaml").write_text(SPEC)
    (made / "few.yaml").write_text(SWEEP)
    (made / "other.json").write_text('{"name": "my-package"}')
    (made / "weights").write_bytes(b"PK\x03\x04 and more")
    (made / "paper.tex").write_text("\\documentclass{article}")
    for name, text in BY_HAND.items():
        (made / name).write_bytes(text)
    for done in (
        upbench("profile", "bilinear", *FAST, "--format", "json", "-o", made / "c.json"),
        upbench("compare", "bilinear", *FAST, "--exact", "--save", made / "base.json"),
        upbench("sweep", made / "few.yaml", "--device", "cpu", "-o", made / "few.jsonl"),
    ):
        assert done.exit_code == 0, done.output
    return made


@pytest.fixture(autouse=True)
def folder(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of these files, which a test may lose."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("command", "lost", "part"),
    [
        (["table", "c.json", "-o", "c.json"], "c.json", "is read by this command"),
        (["table", "c.json", "-o", "./sub/../c.json"], "c.json", "is read by this command"),
        (["table", "few.jsonl", "-o", "link"], "few.jsonl", "is read by this command"),
        (["effects", "few.jsonl", "--format", "json", "-o", "few.jsonl"], "few.jsonl", "is read by this command"),
        (["diff", "c.json", "base.json", "-o", "base.json"], "base.json", "is read by this command"),
        (["diff", "c.json", "c.json", "--junit", "c.json"], "c.json", "another with --junit"),
        (["profile", "spec.yaml", "-o", "spec.yaml"], "spec.yaml", "is read by this command"),
        (["compare", "bilinear", *FAST, "--baseline", "base.json", "--save", "base.json"], "base.json", "with --save"),
        (["compare", "own:Up", "--like", "spec.yaml", "--save", "spec.yaml"], "spec.yaml", "with --save"),
        (["profile", "own:Up", *FAST, "-o", "own.py"], "own.py", "a Python file"),
        (["compare", "own:Up", *FAST, "--save", "own.py"], "own.py", "another with --save"),
        (["list", "-o", "spec.yaml"], "spec.yaml", "holds YAML"),
        (["list", "--format", "json", "-o", "few.jsonl"], "few.jsonl", "holds measured records"),
        (["profile", "bilinear", *FAST, "-o", "few.jsonl"], "few.jsonl", "holds measured records"),
        (["env", "--format", "table", "-o", "c.json"], "c.json", "holds JSON of upbench"),
        (["env", "--format", "json", "-o", "other.json"], "other.json", "that upbench did not write"),
        (["list", "--format", "json", "-o", "base.json"], "base.json", "a baseline"),
        (["compare", "bilinear", *FAST, "--save", "c.json"], "c.json", "holds JSON of upbench"),
        (["show", "bilinear", "-o", "spec.yaml"], "spec.yaml", "an edited one"),
        (["list", "-o", "weights"], "weights", "a ZIP archive"),
        (["list", "-o", "new.pth"], "weights", "a file of weights"),
        (
            ["table", "few.jsonl", "--format", "latex", "-o", "paper.tex"],
            "paper.tex",
            "holds LaTeX that upbench did not write",
        ),
        (["compare", "bilinear", *FAST, "--save", "a", "--junit", "a"], "weights", "for --save and --junit"),
    ],
)
def test_nothing_is_overwritten_that_would_be_lost(folder: Path, command: list[str], lost: str, part: str) -> None:
    Path("sub").mkdir()
    Path("link").symlink_to("few.jsonl")
    before = Path(lost).read_bytes()
    result = upbench(*command)
    assert result.exit_code == 2, result.output
    assert part in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert Path(lost).read_bytes() == before


@pytest.mark.parametrize("name", BY_HAND)
def test_a_file_that_upbench_did_not_write_is_refused_in_every_format(name: str) -> None:
    verb = "plot" if name.endswith(("png", "pdf", "svg")) else "table"
    refused = upbench(verb, "few.jsonl", "-o", name)
    assert refused.exit_code == 2
    assert "that upbench did not write" in refused.stderr
    assert Path(name).read_bytes() == BY_HAND[name]
    assert upbench(verb, "few.jsonl", "-o", name, "--overwrite").exit_code == 0
    assert upbench(verb, "few.jsonl", "-o", name).exit_code == 0


@pytest.mark.parametrize(
    "command", [["list"], ["list", "--shapes"], ["list", "--hosts"], ["env"], ["reproduce", "--list"]]
)
def test_tables_of_every_command_are_known_as_those_of_upbench(command: list[str]) -> None:
    files = [part for ending in render.ENDINGS for part in ("-o", f"t{ending}")]
    for _ in range(2):
        result = upbench(*command, *files)
        assert result.exit_code == 0, result.stderr


def test_columns_of_every_table_are_known() -> None:
    for heads in (deploy.RAW, effects.RAW, effects.FRONT, sites.RAW, quality.RAW_HEADS):
        assert own_files.has_columns(heads)
    assert own_files.has_columns(["groups", "latency_median_s theta=3"])
    assert not own_files.has_columns(["upsampler", "AP", "params"])


@pytest.mark.parametrize(
    "command",
    [
        ["table", "few.jsonl", "-o", "table.txt"],
        ["effects", "few.jsonl", "--part", "effects", "-o", "effects.csv"],
        ["profile", "bilinear", "--layers", "-o", "layers.csv", "-o", "layers.txt"],
        ["profile", "bilinear", *FAST, "--by-op", "-o", "op.csv", "-o", "op.json"],
        ["report", "few.jsonl", "-o", "page-2.html"],
        ["table", "few.jsonl", "--format", "markdown", "-o", "few.md"],
        ["table", "few.jsonl", "--format", "csv", "-o", "few.csv"],
        ["table", "few.jsonl", "--format", "latex", "-o", "table.tex"],
        ["table", "few.jsonl", "--format", "html", "-o", "table.html"],
        ["table", "few.jsonl", "--format", "json", "-o", "table.json"],
        ["effects", "few.jsonl", "--format", "json", "-o", "effects.json"],
        ["plot", "few.jsonl", "-o", "few.png"],
        ["plot", "few.jsonl", "-o", "few.svg"],
        ["profile", "bilinear", *FAST, "--format", "json", "-o", "c.json"],
        ["compare", "bilinear", "nearest", *FAST, "--exact", "--format", "json", "-o", "c.json"],
        ["compare", "bilinear", *FAST, "--exact", "--save", "base.json", "--junit", "gates.xml"],
        ["diff", "base.json", "base.json", "--format", "json", "-o", "diff.json"],
        ["list", "--format", "json", "-o", "names.json"],
        ["list", "--notes", "-o", "notes.md"],
        ["env", "--format", "json", "-o", "env.json"],
        ["show", "carafe", "-o", "carafe.yaml"],
        ["show", "carafe", "--json", "-o", "carafe.json"],
        ["reproduce", "lda-aqu/table1", "--format", "json", "-o", "audit.json"],
        ["sweep", "few.yaml", "--device", "cpu", "-o", "few.jsonl"],
        ["list", "-o", "/dev/null"],
    ],
)
def test_what_was_written_yesterday_is_replaced(command: list[str]) -> None:
    for _ in range(2):
        result = upbench(*command)
        assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: re.sub(r"\\caption{.*}", r"\\caption{My caption}", text),
        lambda text: text + "% edited by me\n",
        lambda text: text.replace("few", "ours", 1),
    ],
)
def test_latex_edited_by_hand_is_kept(edit: Callable[[str], str]) -> None:
    command = ["table", "few.jsonl", "--columns", "macs,latency", "-o", "t.tex"]
    assert upbench(*command).exit_code == 0
    file = Path("t.tex")
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))  # as git leaves it on another system
    assert upbench(*command).exit_code == 0
    edited = edit(file.read_text())
    assert edited != file.read_text()
    file.write_text(edited)
    refused = upbench(*command)
    assert (refused.exit_code, "that was edited" in refused.stderr) == (2, True)
    assert "give its caption with --caption and its label with --label" in refused.stderr
    assert file.read_text() == edited
    assert upbench(*command, "--overwrite").exit_code == 0


def test_another_sweep_of_the_same_name_is_refused_and_the_old_one_kept() -> None:
    Path("results").mkdir()
    assert upbench("sweep", "few.yaml", "--device", "cpu").exit_code == 0
    kept = {path: path.read_bytes() for path in Path("results").iterdir()}
    Path("other.yaml").write_text(SWEEP.replace("scale: [2, 3]", "batch: [1, 2]"))
    for more in ([], ["--dry-run"]):
        refused = upbench("sweep", "other.yaml", "--device", "cpu", *more)
        assert refused.exit_code == 2
        assert "few.jsonl holds another sweep of this name, over scale, and this one is over batch" in refused.stderr
    assert {path: path.read_bytes() for path in kept} == kept
    Path("more.yaml").write_text(SWEEP.replace("[2, 3]", "[2, 3], batch: [1, 2]"))
    assert upbench("sweep", "more.yaml", "--device", "cpu").exit_code == 0  # one axis more goes on
    fewer = upbench("sweep", "few.yaml", "--device", "cpu")
    assert fewer.exit_code == 0
    assert "few.jsonl also holds 4 cells over batch, scale, which the tables of this sweep leave out" in fewer.stderr
    assert upbench("sweep", "other.yaml", "--device", "cpu", "--fresh").exit_code == 0


def test_fresh_sets_the_tables_of_before_aside_with_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("sweep", "few.yaml", "--device", "cpu")
    assert upbench(*command).exit_code == 0
    folder = Path("results")
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "few.1.md").write_text("that of another one\n")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as changed:
        changed.setattr(runner, "run_cells", interrupted)
        stopped = upbench(*command, "--fresh")
    assert stopped.exit_code == 130
    assert "--fresh: the results of before are in results/few.2.jsonl now" in stopped.stderr
    before = {name.replace(".2.", "."): (folder / name).read_bytes() for name in _names(folder) if ".2." in name}
    assert before == kept
    assert _names(folder) == {
        *(name.replace("few", "few.2").replace("few.2.passes", "few.passes.2") for name in kept),
        "few.1.md",
    }


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["abl.docx", "abl", "abl.jsonl"])
def test_an_ending_without_a_format_is_refused_unless_the_format_is_given(name: str) -> None:
    refused = upbench("table", "few.jsonl", "-o", name)
    assert refused.exit_code == 2
    assert (
        "end it in .txt, .md, .markdown, .csv, .tex, .html, .htm, .json, .parquet, or give --format" in refused.stderr
    )
    assert not Path(name).exists()
    assert upbench("table", "few.jsonl", "-o", name, "--format", "csv").exit_code == 0
    sweep = upbench("sweep", "few.yaml", "-o", "few.docx")
    assert (sweep.exit_code, "results are a .jsonl" in sweep.stderr) == (2, True)


def test_every_file_that_was_written_is_named_once_on_stderr() -> None:
    table = upbench("table", "few.jsonl", "-o", "t.tex", "-o", "t.csv", "-q")
    assert (table.stdout, table.stderr) == ("", "upbench: wrote t.tex\nupbench: wrote t.csv\n")
    assert upbench("report", "few.jsonl", "-o", "r.html").stderr == "upbench: wrote r.html\n"
    assert upbench("plot", "few.jsonl", "-o", "few.png").stderr.startswith("upbench: wrote few.png\n")
    assert upbench("list", "-o", "/dev/null").stderr == ""


@pytest.mark.parametrize("option", [["list", "-o"], ["compare", "bilinear", "--save"], ["diff", "a", "b", "--junit"]])
def test_a_name_that_ends_in_a_slash_is_of_a_folder(folder: Path, option: list[str]) -> None:
    missing, file = upbench(*option, "nope/"), upbench(*option, "own.py/")
    assert missing.exit_code == file.exit_code == 2
    assert "nope/ cannot be written: the folder nope does not exist; make it (mkdir -p nope)" in missing.stderr
    assert "own.py/ is no folder" in file.stderr
    assert not Path("nope").exists()
