"""Finds tasks, hosts and kinds of data by name: each is one module of the folder of its kind."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import ModuleType

from upbench.errors import unknown

FOLDERS = {"task": "tasks", "host": "hosts", "data": "data"}
"""A kind of part -> the folder of its modules."""


def names(kind: str) -> list[str]:
    """Return the names of all parts of a kind.

    Args:
        kind: task, host or data.
    """
    package = import_module(f"upbench.quality.{FOLDERS[kind]}")
    return sorted(found.name for found in pkgutil.iter_modules(package.__path__) if not found.name.startswith("_"))


def check(kind: str, name: str) -> None:
    """Raise UnknownName where there is no such part.

    Args:
        kind: task, host or data.
        name: Its name.
    """
    if name not in names(kind):
        raise unknown(kind, name, names(kind))


def load(kind: str, name: str) -> ModuleType:
    """Return the module of a part; most of them need torch.

    Args:
        kind: task, host or data.
        name: Its name.

    Raises:
        UnknownName: If there is none of that name.
    """
    check(kind, name)
    return import_module(f"upbench.quality.{FOLDERS[kind]}.{name}")
