"""What the manual says is so: its commands exist and run, what it shows is what they print, and the site builds."""

from __future__ import annotations

import contextlib
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
import yaml
from typer.main import get_command

import upbench as upbench_package
from tests import test_layering
from tests.command_line import upbench
from tests.docs import pages, shown
from tests.docs.pages import ROOT
from upbench.cli.app import app
from upbench.sweeping import expand

RUNNABLE = [path for path in pages.PAGES if pages.runs(path.read_text())]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", pages.PAGES, ids=_name)
def test_every_command_of_a_page_is_one(path: Path) -> None:
    whole = get_command(app)
    for program, name, *arguments in pages.commands(path.read_text()):
        assert program == "upbench"
        assert name in whole.commands, f"{name} is no command"
        with contextlib.suppress(typer.Exit):  # --help and --schema print and leave; what is wrong raises
            whole.commands[name].make_context(name, list(arguments))


def test_most_commands_of_the_manual_were_looked_at() -> None:
    found = [words for path in pages.PAGES for words in pages.commands(path.read_text())]
    assert len(found) > 80
    assert {words[1] for words in found} >= {"list", "show", "profile", "compare", "sweep", "table", "effects", "plot"}


NUMBER = re.compile(r"[+-]?\d[\d,.]*(?:e[+-]?\d+)?(?:\s?(?:KiB|MiB|GiB|B|ms|us|s|%|x|[KMG](?:\b|(?=\s))))*")
VERDICT = re.compile(r"FASTER|SLOWER|SAME|UNSURE")
ENDED = re.compile(r"(samples).*")


def _rows(text: str) -> list[str]:
    """The lines of tables, one blank between two words, with a # for each number and ? for each verdict: what stays."""
    rows = []
    for part in re.split(r"\n\s*\n", text):
        if any(set(line.strip()) == {"─"} for line in part.splitlines()):
            rows += [_masked(line) for line in part.splitlines() if set(line.strip()) != {"─"}]
    return [row for row in rows if not row.startswith("roofline bound")]  # of a calibration, which tests leave out


def _masked(line: str) -> str:
    line = re.sub(r"- \(takes \d+ samples\)", "0 s", line)  # how many samples there are is the machine's
    name = ENDED.sub(r"\1", line)  # as is how the sampling ended
    return " ".join(VERDICT.sub("?", NUMBER.sub("#", name)).split())


def _anywhere(text: str) -> list[str]:
    """The lines without the one that names the machine."""
    return [line for line in text.splitlines() if "torch " not in line and "warning" not in line]


@pytest.mark.parametrize("path", RUNNABLE, ids=_name)
def test_a_page_shows_what_its_commands_print(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes of the pages are small; here budgets are smaller still, and tests/cli/test_module_to_paper.py has the published ones."""
    pages.lay_out(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("COLUMNS", pages.COLUMNS)

    def execute(words: list[str]) -> tuple[str, str]:
        own = {file.stem for file in tmp_path.iterdir()}
        for name in list(
            sys.modules
        ):  # a page may change its module, as people do; other tests have modules of the same name
            if name.partition(".")[0] in own:
                del sys.modules[name]
        timed = words[1] in ("profile", "compare") and "--exact" not in words
        result = upbench(*(shown.with_option(words[1:], "--budget", "0.02") if timed else words[1:]))
        assert result.exit_code in (0, 1), f"{' '.join(words)}\n{result.output}"
        assert "Traceback" not in result.stderr
        return result.stdout, result.stderr

    quick = path.read_text().replace("threads: 1, budget: 0.2}", "threads: 1, budget: 0.02}")
    quick = quick.replace(" --with-published faster-rcnn-r50", "")
    for block, printed in pages.run(quick, tmp_path, execute):
        if block.name == "exact":
            assert _anywhere(printed) == _anywhere(block.text), "run `python -m tests.refresh_outputs`"
        else:
            assert _rows(printed) == _rows(block.text), "run `python -m tests.refresh_outputs`"
            assert _rows(printed)


def test_each_version_of_a_file_has_a_second_of_its_own(tmp_path: Path) -> None:
    """So that Python does not run the bytecode of the version before, which may be as long."""
    version = "<!-- file: up.py -->\n```python\nSCALE = {}\n```\n<!-- run -->\n```sh\nupbench list\n```\n"
    seconds: list[int] = []

    def execute(words: list[str]) -> tuple[str, str]:
        seconds.append(int((tmp_path / "up.py").stat().st_mtime))
        return "", ""

    list(pages.run("".join(version.format(scale) for scale in range(5)), tmp_path, execute))
    assert len(set(seconds)) == 5


def test_masked_rows_keep_names_and_columns() -> None:
    table = " Upsampler  FLOPs    Latency\n ────────────\n carafe     1.44G  43.9 ms  7.33x SLOWER\n"
    assert _rows(f"text 5\n\n{table}") == ["Upsampler FLOPs Latency", "carafe # # # ?"]
    assert _rows(table.replace("1.44G", "2K").replace("SLOWER", "SAME")) == _rows(table)
    assert _rows(table.replace("FLOPs", "MACs")) != _rows(table)
    assert _rows(table.replace("1.44G", "-")) != _rows(table)


@pytest.mark.parametrize("path", pages.PAGES, ids=_name)
def test_output_is_shown_where_it_is_made_anew_and_nowhere_else(path: Path) -> None:
    """What a program printed stands behind the comment `output`, below the commands that printed it."""
    run = False
    for block in pages.blocks(path.read_text()):
        if block.what == "output":
            assert run, "output without a command above it"
            continue
        run = run or block.what == "run"
        assert "──" not in block.text, "a printed table without the comment `output`"
        assert not re.search(r"^(upbench: |Traceback|% needs)", block.text, re.MULTILINE), "printed, without `output`"


def test_the_page_of_differences_is_that_of_the_cards() -> None:
    page = (ROOT / "docs" / "differences.md").read_text()
    assert page == upbench("list", "--notes").stdout, "run `upbench list --notes -o docs/differences.md --overwrite`"


@pytest.mark.parametrize("path", [p for p in pages.PAGES if p.is_relative_to(ROOT / "docs")], ids=_name)
def test_stars_and_underscores_within_words_are_in_code(path: Path) -> None:
    """Markdown takes 8*8*9 and __init__.py for emphasis, and drops the signs."""
    text = re.sub(r"`[^`]*`", "CODE", pages.BLOCK.sub("CODE", path.read_text()))
    assert re.findall(r"\S*\w\*[\w(]\S*|\S*(?<!\w)__\w+__\S*", re.sub(r"\*\*", "", text)) == []


def test_the_architecture_has_every_room_in_its_row() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = [
        tuple(re.findall(r"`([a-z_]+)`", line.split("|")[1])) for line in page.splitlines() if line.startswith("| `")
    ]
    assert rows == list(test_layering.HOUSE[:-1]), "docs/architecture.md and tests/test_layering.py differ"


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 90


@pytest.mark.parametrize("path", pages.PAGES, ids=_name)
def test_blocks_of_python_are_python(path: Path) -> None:
    for block in pages.blocks(path.read_text()):
        if block.lang == "python":
            compile(block.text, f"{path.name}:{block.start}", "exec")


def test_the_first_page_has_every_extra_once() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    rows = re.findall(r"^\| (`[^|]+`) \|", (ROOT / "docs" / "index.md").read_text(), re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == sorted(extras)


def test_every_page_is_in_the_navigation_once() -> None:
    listed = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2])
    assert sorted(listed) == sorted(str(p.relative_to(ROOT / "docs")) for p in (ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("path", [p for p in pages.PAGES if p.is_relative_to(ROOT / "docs")], ids=_name)
def test_lists_and_tables_stand_apart_from_what_is_above(path: Path) -> None:
    """Python-Markdown takes them for text otherwise, GitHub does not."""
    text = pages.BLOCK.sub("CODE", path.read_text())
    joined = re.findall(r"^(?!#|\s|[-*] |\||\d+\. ).+\n(?:[-*] |\d+\. |\|).*", text, re.MULTILINE)
    assert joined == [], "a blank line is needed above"


def test_the_reference_has_every_public_name() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    members = re.findall(r"^::: ([\w.]+)$", page, re.MULTILINE)
    shown = {name.rpartition(".")[2] for name in members}
    modules = [importlib.import_module(name) for name in members if name in ("upbench.api.results", "upbench.ops")]
    left = [
        name for name in upbench_package.__all__ if name not in shown and not any(hasattr(m, name) for m in modules)
    ]
    assert left == []


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed; the extra docs has it")
    pytest.importorskip("material", reason="mkdocs-material is not installed; the extra docs has it")
    pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed; the extra docs has it")
    done = subprocess.run(  # without --quiet, which keeps --strict from seeing warnings
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    api = (tmp_path / "site" / "api.html").read_text()
    assert "upbench.api.verbs.compare" in api
    assert "https://fonts" not in (tmp_path / "site" / "index.html").read_text()


def test_sweeps_that_a_page_shows_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A piece of one is completed by what it leaves out."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ablation.csv").write_text("kernel,groups,AP\n1,1,38.0\n")
    (tmp_path / "paper_up.py").write_text(
        "from torch import nn\n\n\nclass Up(nn.Module):\n    def __init__(self, channels, scale=2, kernel=3, groups=1): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    rest = {"name": "shown", "base": {"upsampler": "ldaaqu"}, "grid": {"theta": [5, 11]}}
    shown = [
        yaml.safe_load(block.text)
        for path in pages.PAGES
        for block in pages.blocks(path.read_text())
        if block.lang == "yaml"
    ]
    sweeps = [written for written in shown if {"grid", "engine"} & set(written)]
    assert len(sweeps) >= 4
    for written in sweeps:
        whole = rest | written
        assert expand.expand(expand.load(whole, "the page"), "the page"), written


OTHERS = {"--nodes", "--gpus-per-node", "--num-cpus", "--no-deps", "--index-url"}
"""Options of other programs that pages name: of sbatch, ray and pip."""


@pytest.mark.parametrize("path", pages.PAGES, ids=_name)
def test_options_files_and_variables_that_a_page_names_exist(path: Path) -> None:
    whole = get_command(app)
    params = [param for command in (whole, *whole.commands.values()) for param in command.params]
    options = {name for param in params for name in (*param.opts, *param.secondary_opts)} | OTHERS | {"--help"}
    text = path.read_text()
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) - options == set()
    files = set(re.findall(r"(?<![\w/.-])(?:tests|upbench|examples|sweeps|findings|docs|\.ci)/[\w/.*-]+\w", text))
    wanted = {name for name in files if not re.search(r"[A-Z]{4}", name)}  # NAME and PAGE stand for any
    assert [name for name in wanted if not list(ROOT.glob(name))] == []
    code = "".join(file.read_text() for file in (ROOT / "upbench").rglob("*.py"))
    assert [name for name in set(re.findall(r"UPBENCH_[A-Z_]+", text)) if f'"{name}"' not in code] == []
