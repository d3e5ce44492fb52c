"""Reading results files for the commands that measure nothing, and options that they share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upbench.errors import SpecError, StoreError
from upbench.records import file_kinds
from upbench.records.skipped import together

if TYPE_CHECKING:
    from upbench.accuracy.sources import Sources
    from upbench.records.documents import Contents
    from upbench.records.record import Record


Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Results files, as results/theta.jsonl.")]


def read(paths: Sequence[Path], given: Sources | None = None) -> list[Record]:
    """Return the last record of every cell of each file, in the order of the files; warn of lines that are no record.

    Args:
        paths: The files.
        given: Accuracy that the command is given; records have it, or else that which lies beside their file.

    Raises:
        StoreError: If a file does not exist, or there is no record in any.
    """
    from upbench.accuracy import beside
    from upbench.cli import accuracy_options

    records: list[Record] = []
    messages: list[str] = []
    skipped = 0
    for path, contents in contents_of(paths).items():
        for sentence in together(contents.skipped):
            typer.echo(f"upbench: warning: {sentence}", err=True)
        skipped += len(contents.skipped)
        own, unmatched = beside.attached(path, contents.records, given)
        records += own
        messages += unmatched
    if not records:
        listed = ", ".join(str(path) for path in paths)
        why = f"{skipped} lines were skipped" if skipped else "empty"
        raise StoreError(f"no records in {listed} ({why}); `upbench sweep` writes them")
    # A cell that stands in two files is shown once, as the later file has it.
    found = {(record.place, repr(record.axes)): record for record in records}
    accuracy_options.say(messages)
    shown = list(found.values())
    return shown if given is None else accuracy_options.attached(given, shown)


def contents_of(paths: Sequence[Path]) -> dict[Path, Contents]:
    """Return what each file holds.

    Raises:
        StoreError: If a file does not exist.
        SpecError: If all of them are of kinds that hold no records; a sentence for each says which.
    """
    from upbench.records import stored

    found = {path: stored.read(path) for path in dict.fromkeys(paths)}
    others = [contents.other for contents in found.values() if contents.other is not None]
    if others and len(others) == len(found):
        raise SpecError(others)
    return found


def of_records(paths: Sequence[Path]) -> list[Path]:
    """Return the files that hold records, as results/*.jsonl gives others too; a warning names those of other commands.

    Nothing is said of passes whose results file is among them. Files that hold something else stay, to be refused.
    """
    given = list(dict.fromkeys(paths))
    kept = [path for path in given if file_kinds.results_of(path) not in given]
    others = {path: what for path in kept if (what := _of_another_command(path)) is not None}
    if len(others) == len(kept):
        return kept
    for path, what in others.items():
        typer.echo(f"upbench: warning: {path} is {what} and holds no record; it is left out", err=True)
    return [path for path in kept if path not in others]


def _of_another_command(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return file_kinds.other_lines(file.read(100))


def title(records: Sequence[Record]) -> str:
    """Return the titles of the sweeps that the records belong to."""
    names = dict.fromkeys(r.sweep.title or r.sweep.name for r in records if r.sweep)
    return "; ".join(names) or "Records"
