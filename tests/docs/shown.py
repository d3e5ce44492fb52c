"""Every command that the manual shows, and how the tests run it at a hundredth of its cost.

A command is shown where a line of a block of code, or a piece of code within a sentence, begins with one of PROGRAMS and has
arguments; `upbench quality` within a sentence is a name. All commands of a page run in one folder, from top to bottom. They differ from
what is printed in these ways, and in no other (`smaller`):

- words in capitals stand for something: PLACEHOLDERS says for what;
- a shape of more than 32x8x8 is 32x8x8, also where none is given; the named shape of a picture is 16x10x10 features of one of 40x40;
- the picture of a model or host is 64x64; a detector takes it as it is, and keeps 20 proposals;
- what measures time takes 0.02 s for each upsampler, after a warm-up of two calls;
- studies of quality train for 3 steps, on 8 pictures.

What cannot be run here stands in NOT_RUN, with its reason, and what takes seconds rather than a second in SLOW.
"""

from __future__ import annotations

import fnmatch
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.docs import pages

PROGRAMS = {
    "upbench", "python", "python3", "pytest", "pip", "make", "mkdocs", "ruff", "mypy", "sbatch", "ray", "apt-get", "dpkg-deb", ".ci/run",
}  # fmt: skip

NOT_RUN = {
    "python3 -m venv .venv": "makes a new environment; .ci/run takes README's line as it is printed",
    "pip install *": "downloads; .ci/run takes README's line as it is printed",
    "pip download *": "downloads 13 MB of photographs",
    "apt-get download *": "downloads 161 MB of cut-outs",
    "dpkg-deb -x *": "unpacks what was not downloaded",
    "python -m zipfile *": "unpacks what was not downloaded",
    "python examples/cutouts.py *": "reads what was not downloaded; tests/quality/test_parts.py runs it on pictures of its own",
    "upbench quality * --data cutouts": "reads what was not downloaded; --data my/pictures is run",
    "mkdocs serve": "serves until it is stopped; tests/docs/test_pages.py builds the site",
    "make check": "is all tests",
    ".ci/run": "is all tests",
    "python -m pytest": "is all tests",
    "python -m pytest *": "is tests",
    "pytest *": "is tests",
    "python -m tests.*": "writes into the manual or into results; tests/docs/test_pages.py runs what it runs",
    "ray start *": "needs a cluster; tests/sweeping/test_on_ray.py and tests/slow/test_ray_sweeps.py start one",
    "sbatch *": "needs SLURM; tests/slow/test_ray_sweeps.py runs the script with stand-ins",
    "upbench sweep*--engine ray": "needs a cluster; tests/sweeping/test_on_ray.py and tests/slow/test_ray_sweeps.py start one",
    "upbench deploy --record deploy.jsonl -o deploy.md": "every upsampler in every runtime: hours",
    "upbench --install-completion": "writes into the files of a shell; tests/cli/test_completion.py asks for the script",
}
"""Commands that are shown and cannot be run by a test, and why: patterns of the command without its folder."""

SLOW = {
    "upbench deploy *": "files are written and runtimes start",
    "upbench export *": "files are written and run at three sizes",
    "upbench quality *": "trains",
    "upbench env --calibrate": "20 s",
    "upbench compare * --host *": "several stages",
    "upbench sites *": "builds a model",
    "upbench report *": "a large page",
    "upbench sweep *": "starts workers",
    "upbench * results/ablation.jsonl*": "reads what a sweep wrote",
    "upbench plot zoo.json *": "reads what was compared",
    "upbench reproduce lda-aqu/table1*": "counts at full size",
}
"""Commands that only tests/slow/test_shown_commands.py runs, and why. So does it any `compare` that measures time."""

PLACEHOLDERS = {
    "NAME": "carafe",
    "HOST": "faster-rcnn-r50",
    "TABLE": "dysample/table1",
    "COMMAND": "compare",
}
"""What stands for what is written in capitals."""

GATES = {"compare", "diff"}
"""Commands that may end with exit code 1: a bound is broken."""


@dataclass(frozen=True)
class Command:
    """A command as a page shows it.

    Args:
        page: The page.
        text: The command, without the folder of its program.
        into: The file that its output goes to; empty where it is only printed.
    """

    page: Path
    text: str
    into: str = ""

    @property
    def words(self) -> list[str]:
        """The words that a shell makes of it."""
        return shlex.split(self.text)

    def why_not(self, table: dict[str, str]) -> str | None:
        """Return what a table of patterns says of it; None where nothing."""
        return next((why for pattern, why in table.items() if fnmatch.fnmatchcase(self.text, pattern)), None)

    @property
    def is_slow(self) -> bool:
        """Whether only the slow tests run it."""
        times = self.words[1] == "compare" and not {"--exact", "--schema"} & set(self.words)
        return times or self.why_not(SLOW) is not None


def shown(page: Path) -> Iterator[Command]:
    """Yield every command that a page shows, from top to bottom; what its `run` blocks hold is run with their output."""
    text = page.read_text()
    found = [(match.start(1), " ".join(match[1].split())) for match in _inline(text)]
    spans = {place for place, _ in found}
    for block in pages.blocks(text):
        if block.what not in ("file", "output", "run"):
            joined = re.sub(r"\\\n\s*", "", block.text)
            found += [(block.start + n, line) for n, line in enumerate(joined.splitlines())]
    for place, line in sorted(found):
        typed = re.sub(r"^\s*(- run: |\$ )?", "", line)
        typed = re.split(r"\s{2,}|\s#", re.sub(r"\$\{\{.*?\}\}", "main", typed))[0]
        for part in typed.split(" && "):
            plain, _, into = part.strip().partition(" > ")
            program, *arguments = plain.removeprefix(".venv/bin/").split(" ")
            alone = program in (".ci/run", "pytest")
            named = len(arguments) == 1 and arguments[0].isalpha() and program in ("upbench", "ray") and place in spans
            if program in PROGRAMS and (arguments or alone) and not named:
                yield Command(page, " ".join([program, *arguments]), into.strip())


def _inline(text: str) -> Iterator[re.Match[str]]:
    """Yield pieces of code within sentences."""
    blank = pages.BLOCK.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    return re.finditer(r"(?<!`)`([^`]+)`(?!`)", blank)


def smaller(words: list[str]) -> list[str]:
    """Return a command of upbench at a small shape, in little time: the rules stand on top.

    Args:
        words: The command, without the program.
    """
    words = [PLACEHOLDERS.get(word, word) for word in words]
    verb, given = words[0], set(words)
    if verb in ("list", "show", "table", "effects", "plot", "report", "diff", "reproduce", "env") or given & {
        "--help",
        "--schema",
    }:
        return words
    if verb == "quality":
        return words if "--dry-run" in given else [*words, "--steps", "3", "--pictures", "8,8"]
    if any("fasterrcnn" in word for word in words):
        words = [*words, "--model-arg", "min_size=64", "--model-arg", "rpn_post_nms_top_n_test=20"]
    if "--host" in given or "--input" in given:
        words = with_option(words, "--input", "64x64")
    elif verb == "sites":
        return words
    elif "vit-s16-224" in given:
        words = [*with_option(words, "--shape", "16x10x10"), "--scale", "4", "--guide-size", "40x40"]
    elif "--per-shape" not in given:
        words = with_option(words, "--shape", "32x8x8")
    if verb in ("profile", "compare", "sweep") and "--exact" not in given:
        words = with_option(words, "--budget", "0.02")
    return words


def with_option(words: list[str], option: str, value: str) -> list[str]:
    """Return a command with an option of this value, in the place of the one that it has."""
    if option not in words:
        return [*words, option, value]
    at = words.index(option)
    return [*words[: at + 1], value, *words[at + 2 :]]
