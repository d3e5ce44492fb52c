"""Results files: one JSON record a line, appended and flushed one by one, so that a crash costs one cell.

A file is read line by line, and a line that is no record is named and skipped; nothing is ever taken out of a file.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from upbench.errors import StoreError
from upbench.records import documents, file_kinds, json_lines
from upbench.records.documents import Contents as Contents
from upbench.records.record import Record, from_json


class Line(NamedTuple):
    """A line of a results file.

    Args:
        offset: Byte at which it begins.
        record: Its record; None where it has none.
        skipped: Why it has none.
    """

    offset: int
    record: Record | None
    skipped: str | None = None


Identity = tuple[str, str]
"""What distinguishes the cells of a file: the key of the record, and its axes as text."""


class Place(NamedTuple):
    """Position and outcome of a record in its file.

    Args:
        offset: Byte at which its line begins.
        status: Its status.
        error: Why the status is not "ok".
    """

    offset: int
    status: str
    error: str | None


@dataclass
class Index:
    """What a results file holds, without the records themselves.

    Args:
        by_cell: The last record of every cell.
        by_key: The last record of every key with status "ok", or else its last of any status.
        shown: The record that a table shows of a cell, whatever code it was measured with, and the hashes of that code.
        skipped: A sentence for each line that is no record.
    """

    by_cell: dict[Identity, Place] = field(default_factory=dict)
    by_key: dict[str, Place] = field(default_factory=dict)
    shown: dict[Identity, tuple[Place, dict[str, str] | None]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)


def scan(path: Path) -> Iterator[Line]:
    """Yield the lines of a file one after another, without empty ones; none when there is no file.

    Raises:
        StoreError: If the file cannot be read.
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
    """Return all records of a file, none when there is no file; lines that are torn or foreign are skipped and named.

    Raises:
        StoreError: If the file cannot be read.
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
    """Return the records of a results file, or of a document that profile, compare or sweep print with --format json.

    Args:
        path: The file, whose kind is recognised by its content.

    Returns:
        All records in their order; lines and parts that are torn or foreign are skipped and named.

    Raises:
        StoreError: If the file does not exist, cannot be read, or is of another kind, which the sentence names.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise StoreError(f"results file {path}: there is no such file; `upbench sweep` writes one") from None
    except IsADirectoryError:
        raise StoreError(f"results file {path} is a folder; name the .jsonl files in it") from None
    except OSError as error:
        raise StoreError(f"results file {path} cannot be read ({error.strerror})") from None
    if file_kinds.other_lines(content) is not None:  # it stands beside results files, and all may be named by *.jsonl
        other = documents.other_kind(path, content)
        return Contents(skipped=[f"{other}; it is skipped"], other=other)
    if (found := documents.read(content, path)) is not None:
        return found
    found = _contents(_lines(io.BytesIO(content), path))
    if not found.records and found.skipped and not documents.is_results_file(content, path):
        raise StoreError(documents.other_kind(path, content))
    return found


def check_appendable(path: Path) -> None:
    """Raise StoreError when a file is no results file, so that no records can be added to it."""
    if not path.is_file():
        return
    try:
        with path.open("rb") as file:
            if any(line.record for line in _lines(file, path)):  # mostly the first, however long the file is
                return
        content = path.read_bytes()
    except OSError:
        return  # said where it is written to
    if documents.is_results_file(content, path):
        return
    raise StoreError(f"{documents.other_kind(path, content)}; nothing is added to it, choose another with --output")


def index(path: Path) -> Index:
    """Index the records of a file; only one of them is in memory at a time.

    Raises:
        StoreError: If the file cannot be read.
    """
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
    """Return the identity of a cell: the key of its record, and its position in the grid.

    Args:
        key: `Record.key` or `Record.place`.
        axes: Axis -> value of the cell.
    """
    return key, json.dumps(axes, sort_keys=True)


def read_at(path: Path, offset: int) -> Record:
    """Return the record that begins at a byte of a file.

    Args:
        path: The results file.
        offset: The byte, from 0.

    Raises:
        StoreError: If there is none, or the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            text = file.readline().decode("utf-8", errors="replace")
    except OSError as error:
        raise StoreError(f"results file {path} cannot be read ({error.strerror})") from None
    return from_json(text, f"results file {path}, at byte {offset},")


def pick(path: Path, wanted: Mapping[Identity, int]) -> dict[int, Record]:
    """Return the last record of each wanted cell.

    Args:
        path: The results file.
        wanted: Identity of a cell -> its number.

    Returns:
        Number of a cell -> its record, in the order of the numbers; cells that the file lacks are left out.
    """
    found: dict[int, Record] = {}
    for line in scan(path):
        if line.record is not None:
            number = wanted.get(identity(line.record.key, line.record.axes))
            if number is not None:
                found[number] = line.record
    return dict(sorted(found.items()))


def append(path: Path, record: Record) -> None:
    """Add one record to a file and force it to disk. The line is written in one call, whole or not at all.

    A torn last line is ended first, so that it stays as it is and costs no other record.

    Args:
        path: The results file.
        record: The record.

    Raises:
        OutputError: If the file cannot be written.
    """
    json_lines.append(path, record.to_json())


def latest(records: Iterable[Record]) -> dict[str, Record]:
    """Return the last record of every key."""
    return {record.key: record for record in records}


def current(records: Iterable[Record]) -> list[Record]:
    """Return the records that a table shows: the last of every cell of a sweep, in the order of the cells.

    Records outside of sweeps are distinguished by their key and follow in the order of the file. A cell that was measured
    again after its module was edited is one cell.
    """
    found: dict[object, Record] = {}
    for record in records:
        found[identity(record.place, record.axes) if record.sweep else record.place] = record
    return sorted(found.values(), key=lambda r: (0, r.sweep.cell) if r.sweep else (1, 0))
