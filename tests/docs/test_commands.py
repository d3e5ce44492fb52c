"""Every command that the manual shows is run, here or in the slow tests, or stands in a table with the reason why it is not."""

from __future__ import annotations

import fnmatch
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs import pages, shown
from tests.docs.pages import ROOT
from tests.docs.running import run_page

SHOWN = {page: list(shown.shown(page)) for page in pages.PAGES}
EVERY = [command for found in SHOWN.values() for command in found]
RUN = [command for command in EVERY if not command.why_not(shown.NOT_RUN)]
QUICK = {page: [c for c in found if c in RUN and not c.is_slow] for page, found in SHOWN.items()}


@pytest.mark.parametrize("page", [p for p, found in QUICK.items() if found], ids=lambda p: str(p.relative_to(ROOT)))
def test_the_commands_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    run_page(page, QUICK[page], folder, monkeypatch)


def test_only_commands_of_upbench_can_be_run() -> None:
    """Whatever else is shown has its reason in the table."""
    assert [command.text for command in RUN if command.words[0] != "upbench"] == []


@pytest.mark.parametrize("table", [shown.NOT_RUN, shown.SLOW], ids=["not run", "slow"])
def test_no_table_has_a_command_that_is_shown_nowhere(table: dict[str, str]) -> None:
    stale = [pattern for pattern in table if not any(fnmatch.fnmatchcase(c.text, pattern) for c in EVERY)]
    assert stale == []
    assert all(len(why) > 3 for why in table.values())


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_a_shell_makes_the_words_of_every_command_that_the_tests_run(tmp_path: Path) -> None:
    """A formula within double quotes, say, would be another caption for a reader than for the tests."""
    blocks = [block.text for page in pages.PAGES for block in pages.blocks(page.read_text()) if block.what == "run"]
    typed = [
        line for text in blocks for line in re.sub(r"\\\n\s*", "", text).splitlines() if line.startswith("upbench")
    ]
    assert len(typed) > 10
    texts = [*(command.text for command in RUN), *(re.split(r" > | \| | && |\s+#", line)[0] for line in typed)]
    lines = [f"printf '%s\\n' {text}; echo" for text in texts]
    done = subprocess.run(["bash", "-c", "\n".join(lines)], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    made = [words.split("\n") for words in done.stdout.removesuffix("\n\n").split("\n\n")]
    assert made == [shlex.split(text) for text in texts]


def test_every_placeholder_is_shown() -> None:
    words = {word for command in EVERY for word in command.words}
    assert [name for name in shown.PLACEHOLDERS if name not in words] == []


def test_files_of_the_project_that_commands_and_reasons_name_exist() -> None:
    text = "\n".join([*(command.text for command in EVERY), *shown.NOT_RUN.values()])
    named = set(re.findall(r"(?:tests|examples|sweeps|\.ci)/[\w/.-]+", text))
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_what_is_run_is_what_is_shown_but_for_the_rules() -> None:
    smaller = shown.smaller
    assert smaller(["compare", "carafe"]) == ["compare", "carafe", "--shape", "32x8x8", "--budget", "0.02"]
    assert smaller(["profile", "a.yaml", "--shape", "256x60x60", "--layers"])[3] == "32x8x8"
    assert smaller(["table", "results/theta.jsonl", "--base", "theta=11"])[-1] == "theta=11"
    assert smaller(["compare", "carafe", "--host", "h", "--exact"])[-2:] == ["--input", "64x64"]
    page = ROOT / "docs" / "commands.md"
    assert [c.text for c in SHOWN[page] if c.into] == ["upbench show ldaaqu"]
    assert len(RUN) > 90
