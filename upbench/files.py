"""Files that are written: whether they can be, and how they are replaced without ever being half written."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from upbench.errors import OutputError


def check_writable(path: Path) -> None:
    """Raise OutputError unless `path` can be written; nothing is changed. Missing folders are made."""
    if path.is_dir():
        raise OutputError(f"output {path} is a folder; give the name of a file")
    existed = path.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            pass
        if not existed:
            path.unlink()
    except OSError as error:
        raise OutputError(f"output {path} cannot be written ({error.strerror}); choose another with --output") from None


def write_text(path: Path, text: str) -> None:
    """Replace a text file in one step: a reader sees the old text or the new, never half of it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.exists() and not path.is_file():  # a device or a pipe is written to, not replaced
            path.write_text(text, encoding="utf-8")
            return
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OutputError(f"output {path} cannot be written ({error.strerror}); choose another with --output") from None


def set_aside(path: Path) -> Path | None:
    """Rename an existing file to the next free `name.N.jsonl`, and say to what; None when there is none."""
    if not path.exists():
        return None
    numbers = itertools.count(1)
    kept = next(p for n in numbers if not (p := path.with_suffix(f".{n}{path.suffix}")).exists())
    try:
        path.rename(kept)
    except OSError as error:
        raise OutputError(
            f"results file {path} cannot be renamed ({error.strerror}); choose another with --output"
        ) from None
    return kept
