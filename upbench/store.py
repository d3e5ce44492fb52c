"""Results files: one JSON record a line, appended and flushed one by one, so that a crash costs one cell."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from upbench.errors import OutputError, StoreError
from upbench.record import Record, from_json


def read(path: Path) -> list[Record]:
    """All records of a file, none when there is no file. Raises StoreError naming the line that cannot be read."""
    if not path.exists():
        return []
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise StoreError(f"results file {path} cannot be read ({reason})") from None
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [from_json(line, f"results file {path}, line {n},") for n, line in enumerate(lines, 1) if line.strip()]


def append(path: Path, record: Record) -> None:
    """Add one record and force it to disk. The line is written in one call, whole or not at all."""
    try:
        with path.open("ab", buffering=0) as file:
            file.write((record.to_json() + "\n").encode())
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(
            f"results file {path} cannot be written ({error.strerror}); choose another with --output"
        ) from None


def latest(records: Iterable[Record]) -> dict[str, Record]:
    """The last record of every key."""
    return {record.key: record for record in records}
