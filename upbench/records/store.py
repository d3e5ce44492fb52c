"""Results files: one JSON record a line, appended and flushed one by one, so that a crash costs one cell.

A file is read line by line, and a line that is no record is named and skipped; nothing is ever taken out of a file.
"""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

from upbench.errors import OutputError, StoreError
from upbench.records import documents
from upbench.records.documents import Contents as Contents
from upbench.records.record import Record, from_json


class Line(NamedTuple):
    """A line of a results file: where it begins in bytes, and its record, or else why it has none."""

    offset: int
    record: Record | None
    skipped: str | None = None


Identity = tuple[str, str]
"""What tells the cells of a file apart: the key of the record, and its axes as text."""


class Place(NamedTuple):
    """Where a record stands in its file, and what came of it."""

    offset: int
    status: str
    error: str | None


@dataclass
class Index:
    """What a results file has, without holding its records: the last of every cell, and the best of every key.

    by_key: the last record with status "ok" of a key, or else its last of any status. shown: the record that a table
    shows of a cell, whatever code it is of; and the hashes of that code.
    """

    by_cell: dict[Identity, Place] = field(default_factory=dict)
    by_key: dict[str, Place] = field(default_factory=dict)
    shown: dict[Identity, tuple[Place, dict[str, str] | None]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)


def scan(path: Path) -> Iterator[Line]:
    """The lines of a file one after another, empty ones left out; none when there is no file.

    Raises StoreError when the file itself cannot be read.
    """
    try:
        with path.open("rb") as file:
            yield from _lines(file, path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"results file {path} cannot be read ({error.strerror})") from None


def _lines(file: Iterable[bytes], path: Path) -> Iterator[Line]:
    offset = 0
    for number, raw in enumerate(file, 1):
        text = raw.decode("utf-8", errors="replace")
        if text.strip():
            yield _line(offset, text, f"results file {path}, line {number},")
        offset += len(raw)


def _line(offset: int, text: str, source: str) -> Line:
    try:
        return Line(offset, from_json(text, source))
    except StoreError as error:
        return Line(offset, None, f"{error}; the line is skipped, and stays in the file")


def load(path: Path) -> Contents:
    """All records of a file, none when there is no file; lines that are torn or foreign are skipped and named.

    Raises StoreError when the file itself cannot be read.
    """
    return _contents(scan(path))


def _contents(lines: Iterable[Line]) -> Contents:
    found = Contents()
    for line in lines:
        if line.record is not None:
            found.records.append(line.record)
        if line.skipped is not None:
            found.skipped.append(line.skipped)
    return found


def read(path: Path) -> Contents:
    """Return the records of a results file, or of what profile, compare and sweep print with --format json.

    Args:
        path: a file, told by its content.

    Returns:
        All records in their order; lines and parts that are torn or foreign are skipped and named.

    Raises:
        StoreError: when there is no such file, it cannot be read, or it is of another kind, which is said in one
            sentence.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise StoreError(f"results file {path}: there is no such file; `upbench sweep` writes one") from None
    except IsADirectoryError:
        raise StoreError(f"results file {path} is a folder; name the .jsonl files in it") from None
    except OSError as error:
        raise StoreError(f"results file {path} cannot be read ({error.strerror})") from None
    if (found := documents.read(content, path)) is not None:
        return found
    found = _contents(_lines(io.BytesIO(content), path))
    if not found.records and found.skipped and not documents.is_results_file(content, path):
        raise StoreError(documents.other_kind(path, content))
    return found


def check_appendable(path: Path) -> None:
    """Raise StoreError when records cannot be added to a file, since it is something else than a results file."""
    try:
        content = path.read_bytes() if path.is_file() else b""
    except OSError:
        return  # said where it is written to
    lines = _lines(io.BytesIO(content), path)
    if any(line.record for line in lines) or documents.is_results_file(content, path):
        return
    raise StoreError(f"{documents.other_kind(path, content)}; nothing is added to it, choose another with --output")


def index(path: Path) -> Index:
    """Where the records of a file stand; only one of them is in memory at a time. Raises StoreError as `load` does."""
    found = Index()
    for line in scan(path):
        if line.skipped is not None:
            found.skipped.append(line.skipped)
        if (record := line.record) is None:
            continue
        place = Place(line.offset, record.status, record.error)
        found.by_cell[identity(record.key, record.axes)] = place
        found.shown[identity(record.place, record.axes)] = place, record.sources
        before = found.by_key.get(record.key)
        if before is None or record.status == "ok" or before.status != "ok":
            found.by_key[record.key] = place
    return found


def identity(key: str, axes: Mapping[str, Any]) -> Identity:
    """The identity of a cell: what is measured, and the place in the grid that it stands for."""
    return key, json.dumps(axes, sort_keys=True)


def read_at(path: Path, offset: int) -> Record:
    """The record that begins at a byte of a file. Raises StoreError when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            text = file.readline().decode("utf-8", errors="replace")
    except OSError as error:
        raise StoreError(f"results file {path} cannot be read ({error.strerror})") from None
    return from_json(text, f"results file {path}, at byte {offset},")


def pick(path: Path, wanted: Mapping[Identity, int]) -> dict[int, Record]:
    """The last record of each wanted cell that the file has, under the number that `wanted` gives it, in that order."""
    found: dict[int, Record] = {}
    for line in scan(path):
        if line.record is not None:
            number = wanted.get(identity(line.record.key, line.record.axes))
            if number is not None:
                found[number] = line.record
    return dict(sorted(found.items()))


def append(path: Path, record: Record) -> None:
    """Add one record and force it to disk. The line is written in one call, whole or not at all.

    After a torn last line a new one is begun, so that the torn one stays as it is and costs nothing but itself.
    """
    try:
        with path.open("ab+", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            line = (record.to_json() + "\n").encode()
            whole = b"\n" + line if _torn(file, end) else line
            if file.write(whole) != len(whole):  # a disk that became full takes a part
                file.truncate(end)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(
            f"results file {path} cannot be written ({error.strerror}); choose another with --output"
        ) from None


def _torn(file: FileIO, end: int) -> bool:
    """Whether a file, open for appending and reading, ends in the middle of a line."""
    if end == 0:
        return False
    file.seek(end - 1)
    return file.read(1) != b"\n"


def latest(records: Iterable[Record]) -> dict[str, Record]:
    """The last record of every key."""
    return {record.key: record for record in records}


def current(records: Iterable[Record]) -> list[Record]:
    """What a table shows: the last record of every cell of a sweep, in the order of the cells.

    Records of no sweep are told apart by their key and follow in the order of the file. A cell measured again after
    its module was edited is one cell.
    """
    found: dict[object, Record] = {}
    for record in records:
        found[identity(record.place, record.axes) if record.sweep else record.place] = record
    return sorted(found.values(), key=lambda r: (0, r.sweep.cell) if r.sweep else (1, 0))
