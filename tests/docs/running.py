"""Runs what a page shows; tests/docs and tests/slow share it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.command_line import upbench
from tests.docs import shown, stage

FIRST = {
    "gate-in-ci.md": "compare mine.up:Up --exact --threads 1 --shape 32x8x8 --save baseline.json",
    "published-tables.md": "compare nearest mine:Up:kernel=3 --budget 0.02 --threads 1 --shape 32x8x8 --format json -o zoo.json",
}
"""What a reader has run before the commands of a page, at the shape that tests take."""


def run_page(page: Path, commands: list[shown.Command], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run commands of a page from top to bottom, in a folder with what they name.

    Args:
        page: The page.
        commands: Those of its commands that are to run.
        folder: An empty folder.
        monkeypatch: Of the test.
    """
    stage.build(page, folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("UPBENCH_WARMUP", "0.01")
    if page.name in FIRST:
        assert upbench(*FIRST[page.name].split()).exit_code == 0
    for command in commands:
        _run(command, folder)


def _run(command: shown.Command, folder: Path) -> None:
    own = {file.stem for file in folder.iterdir()}
    for name in [name for name in sys.modules if name.partition(".")[0] in own]:
        del sys.modules[name]  # other pages have modules of the same name
    words = []
    for word in shown.smaller(command.words[1:]):
        words += sorted(map(str, folder.glob(word))) if word.startswith("results/*") else [word]
    result = upbench(*words)
    allowed = (0, 1) if words[0] in shown.GATES else (0,)
    assert result.exit_code in allowed, f"upbench {' '.join(words)}\n{result.output}\n{result.exception!r}"
    assert "Traceback" not in result.output
    if command.into:
        (folder / command.into).write_text(result.stdout)
