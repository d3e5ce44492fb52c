"""Files of one JSON value a line, appended and flushed one by one, so that a crash costs at most the last line."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import nullcontext
from io import FileIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

from upbench.errors import OutputError, StoreError


class RawLine(NamedTuple):
    """A line that is not empty: where it begins in bytes, its number from 1, and its text."""

    offset: int
    number: int
    text: str


def scan(path: Path) -> Iterator[RawLine]:
    """Yield the lines of a file one after another, with only one in memory at a time; none when there is no file.

    Raises:
        StoreError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            offset = 0
            for number, raw in enumerate(file, 1):
                text = raw.decode("utf-8", errors="replace")
                if text.strip():
                    yield RawLine(offset, number, text)
                offset += len(raw)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"results file {path} cannot be read ({error.strerror})") from None


def read_at(path: Path, offset: int, held: BinaryIO | None = None) -> str:
    """Return the line that begins at a byte of a file.

    Args:
        path: The file.
        offset: The byte, from 0.
        held: The file where it is open: its lines are there when it has been renamed or removed since.

    Raises:
        StoreError: The file cannot be read.
    """
    try:
        with nullcontext(held) if held is not None else path.open("rb") as file:
            file.seek(offset)
            return file.readline().decode("utf-8", errors="replace")
    except OSError as error:
        raise StoreError(f"results file {path} cannot be read ({error.strerror})") from None


def append(path: Path, text: str, option: str = "--output") -> None:
    """Add one line and force it to disk. It is written in one call, whole or not at all.

    After a torn last line a new one is begun, so that the torn one stays as it is and costs nothing but itself.

    Args:
        path: The file, which is made where there is none.
        text: The line, without its end.
        option: What another file is given with, for the sentence.

    Raises:
        OutputError: The file cannot be written.
    """
    try:
        with path.open("ab+", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            line = (text + "\n").encode()
            whole = b"\n" + line if _is_torn(file, end) else line
            if file.write(whole) != len(whole):  # a disk that became full takes a part
                file.truncate(end)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(
            f"results file {path} cannot be written ({error.strerror}); choose another with {option}"
        ) from None


def _is_torn(file: FileIO, end: int) -> bool:
    """Whether a file, open for appending and reading, ends in the middle of a line."""
    if end == 0:
        return False
    file.seek(end - 1)
    return file.read(1) != b"\n"
