"""Whether another machine has the same upbench, torch and user's code as this one. Needs no torch."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import upbench
from upbench.user_code import source_files

SUFFIXES = (".py", ".c", ".h")


@cache
def code_digest() -> str:
    """Return a hash of upbench's own source files, whatever commit they are of and however they were installed."""
    folder = Path(upbench.__file__).parent
    files = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def described() -> dict[str, Any]:
    """Return the versions that must be the same on every node, and the name of this one."""
    return {
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "upbench": upbench.__version__,
        "code": code_digest(),
        "torch": _torch(),
        "niceness": os.getpriority(os.PRIO_PROCESS, 0) if hasattr(os, "getpriority") else 0,
    }


def _torch() -> str | None:
    try:
        return version("torch")
    except PackageNotFoundError:
        return None


def difference(here: Mapping[str, Any], there: Mapping[str, Any]) -> str | None:
    """Return what of another machine is not the same as here, as a clause; None where nothing is.

    Args:
        here, there: As `described` returns them. The build of torch (+cu128) may differ: it makes another kind of machine.
    """
    if here["upbench"] != there["upbench"]:
        return f"it has upbench {there['upbench']}, and this machine {here['upbench']}"
    if here["code"] != there["code"]:
        return f"its upbench {there['upbench']} is of another commit or was edited; install the same on all nodes"
    if _public(here["torch"]) != _public(there["torch"]):
        return f"it has torch {there['torch']}, and this machine {here['torch']}"
    return None


def _public(text: str | None) -> str | None:
    return text.partition("+")[0] if text else None


def changed_code(here: Mapping[str, Mapping[str, str] | None], there: Mapping[str, Any]) -> str | None:
    """Return which of a user's files are others on another machine, as a clause; None where none is.

    Args:
        here, there: Of each upsampler, the hashes of its files.
    """
    for name, hashes in here.items():
        if files := source_files.changed(hashes, there.get(name)):
            return f"its code of {name} is another ({', '.join(files)})"
    return None
