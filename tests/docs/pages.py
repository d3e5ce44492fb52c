"""Pages of Markdown whose commands can be run: files to write, commands to type, and the output that the page shows.

A comment stands on the line before a block of code and says what the block is:

    <!-- file: paper_up.py -->      the block is the content of this file
    <!-- run -->                    each line of the block is a command, run in the folder of the page
    <!-- run: stderr -->            as above; shown is what they say on stderr, without their progress
    <!-- output -->                 what the commands above printed; only its heads are compared, since times differ
    <!-- output: exact -->          what they print wherever they run, but for the line that names the machine

All other blocks are for readers; lines in them that begin with `upbench ` must be commands that exist.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
"""Every page with commands."""
COLUMNS = "90"
"""How wide the tables of a page are."""
BLOCK = re.compile(
    r"(?:^<!-- (?P<what>file|run|output)(?:: (?P<name>[^ ]+))? -->\n)?^(?P<fence>```)(?P<lang>[^\n]*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


Execute = Callable[[list[str]], tuple[str, str]]
"""Runs a command, and returns what it prints to stdout and to stderr."""


@dataclass(frozen=True)
class Block:
    """A block of code of a page.

    Args:
        what: "file", "run", "output", or empty for one that readers alone read.
        name: The file, or "exact"; empty where neither is given.
        lang: The language behind the fence.
        text: What stands in it.
        start: Where its text begins in the page.
        end: Where it ends.
    """

    what: str
    name: str
    lang: str
    text: str
    start: int
    end: int


def blocks(page: str) -> Iterator[Block]:
    """Yield the blocks of code of a page, from top to bottom."""
    for match in BLOCK.finditer(page):
        yield Block(
            match["what"] or "",
            match["name"] or "",
            match["lang"],
            match["text"],
            match.start("text"),
            match.end("text"),
        )


def commands(page: str) -> Iterator[list[str]]:
    """Yield every command of upbench in the blocks of a page, as the words that a shell makes of it.

    Two spaces and more end a command: a remark follows. In a workflow a command follows `- run: `.
    """
    for block in blocks(page):
        if block.what in ("output", "file") and block.lang != "yaml":
            continue
        for line in re.sub(r"\\\n\s*", "", block.text).splitlines():
            typed = re.match(r"\s*(?:- run: |\$ )?(upbench [^#>]*?)(?:\s{2,}.*|\s*[#>].*)?$", line)
            if typed:
                yield shlex.split(re.sub(r"\$\{\{.*?\}\}", "main", typed[1]))


def run(page: str, folder: Path, execute: Execute) -> Iterator[tuple[Block, str]]:
    """Go through a page from top to bottom: write its files, run its commands.

    Args:
        page: The text of the page.
        folder: Where its files are written.
        execute: Runs a command, and returns what it prints to stdout and to stderr.

    Yields:
        Each block of output, and what the commands above it printed.
    """
    printed = ""
    for block in blocks(page):
        if block.what == "file":
            file = folder / block.name
            _write(file, block.text)
        elif block.what == "run":
            done = [execute(shlex.split(line)) for line in block.text.splitlines()]
            texts = [_said(errors) if block.name == "stderr" else output for output, errors in done]
            printed = "\n".join(text.rstrip() for text in texts)
        elif block.what == "output":
            yield block, "\n".join(line.rstrip() for line in printed.strip("\n").splitlines()) + "\n"


def _write(file: Path, text: str) -> None:
    """Write a file, at another second than its last version: Python takes bytecode of the same second and size for its own."""
    file.parent.mkdir(parents=True, exist_ok=True)
    before = file.stat().st_mtime if file.exists() else 0.0
    file.write_text(text)
    if int(file.stat().st_mtime) <= int(before):
        os.utime(file, (before + 1, before + 1))


def _said(errors: str) -> str:
    """Return what stands on stderr but for the progress of a command."""
    return "\n".join(line for line in errors.splitlines() if not re.search(r"\(\d+%\)$", line))


def lay_out(path: Path, folder: Path) -> None:
    """Put what ships beside README into the folder in which its commands run; tutorials begin in an empty one."""
    if path.parent == ROOT:
        for name in ("results", "sweeps"):
            (folder / name).symlink_to(ROOT / name)


def runs(page: str) -> bool:
    """Return whether a page has commands that are run."""
    return any(block.what == "run" for block in blocks(page))
