"""Files that are written: whether they can be, and how they are replaced without ever being half written."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from upbench.errors import OutputError


def check_writable(path: Path, option: str = "--output") -> None:
    """Raise OutputError unless `path` can be written; nothing is changed, and no folder is made.

    Args:
        path: of the file that will be written.
        option: by which it was given, for the sentence.
    """
    if path.is_dir():
        raise OutputError(f"output {path} is a folder; give the name of a file")
    check_folder(path, option)
    existed = path.exists()
    try:
        with path.open("ab"):
            pass
        if not existed:
            path.unlink()
    except OSError as error:
        raise OutputError(f"output {path} cannot be written ({error.strerror}); choose another with {option}") from None


def check_folder(path: Path, option: str = "--output", typed: str | None = None) -> None:
    """Check that there is a folder that a path can be in.

    Args:
        path: The file to be written.
        option: The option that names it, for the sentence.
        typed: How the sentence names it instead of the path.

    Raises:
        OutputError: If the folder does not exist, or is a file.
    """
    folder = path.parent
    if folder.is_dir():
        return
    if next((parent for parent in folder.parents if parent.exists()), folder).is_dir() and not folder.exists():
        raise OutputError(
            f"output {typed or path} cannot be written: the folder {folder} does not exist; make it (mkdir -p {folder}), or "
            f"choose another with {option}"
        )
    raise OutputError(f"output {typed or path} cannot be written: {folder} is no folder; choose another with {option}")


def write_text(path: Path, text: str) -> None:
    """Replace a text file in one step: a reader sees the old text or the new, never half of it."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file in one step: a reader sees the old content or the new, never half of it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.exists() and not path.is_file():  # a device or a pipe is written to, not replaced
            path.write_bytes(content)
            return
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OutputError(f"output {path} cannot be written ({error.strerror}); choose another file") from None


def set_aside(path: Path, *beside: Path) -> Path | None:
    """Rename an existing file to the next free `name.N.jsonl`, and those that belong to it with the same number.

    Args:
        path: The file.
        beside: The others; they need not be there.

    Returns:
        The new path; None when there is no such file.

    Raises:
        OutputError: If one cannot be renamed.
    """
    old = [one for one in (path, *beside) if one.exists()]
    free = (n for n in itertools.count(1) if not any(_numbered(one, n).exists() for one in (path, *beside)))
    number = next(free)
    for one in old:
        try:
            one.rename(_numbered(one, number))
        except OSError as error:
            raise OutputError(
                f"results file {one} cannot be renamed ({error.strerror}); choose another with --output"
            ) from None
    return _numbered(path, number) if path in old else None


def _numbered(path: Path, number: int) -> Path:
    return path.with_suffix(f".{number}{path.suffix}")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file for this process alone, so that two never write it at the same time.

    The lock is a small file next to it, `.name.lock`, that holds the number of the process. The system gives it up
    when the process ends, however it ends.

    Args:
        path: The file; its folder must be there.

    Raises:
        OutputError: If another process has it, or if it cannot be had.
    """
    import fcntl

    target = path.resolve()
    beside = target.with_name(f".{target.name}.lock")
    check_folder(path)
    try:
        while True:
            descriptor = os.open(beside, os.O_RDWR | os.O_CREAT, 0o666)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, beside):
                break
            os.close(descriptor)  # whoever had it removed it between our two calls
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
    except BlockingIOError:
        owner = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        os.close(descriptor)
        who = f"process {owner}" if owner else "another process"
        raise OutputError(f"{path} is being written by {who}; wait for it, or choose another with --output") from None
    except OSError as error:
        raise OutputError(f"output {path} cannot be written ({error.strerror}); choose another with --output") from None
    try:
        yield
    finally:
        beside.unlink(missing_ok=True)
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
