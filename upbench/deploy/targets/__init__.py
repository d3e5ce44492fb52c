"""The runtimes that upsamplers are deployed to, one a file of this folder; one more is one such file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, cast

from upbench.errors import UpbenchError, install, suggestion


@dataclass(frozen=True)
class Loaded:
    """A file that is ready to run.

    Attributes:
        call: A function of tensors that returns a tuple of tensors.
        asked: The precision that was asked for.
        in_effect: The precision that the runtime says is in effect.
    """

    call: Callable[..., tuple[Any, ...]]
    asked: str
    in_effect: str


class Target(Protocol):
    """What the module of a runtime defines.

    Attributes:
        PACKAGES: Packages that it needs; the version of the first is printed.
        EXTRA: The extra of upbench that installs them; empty where none does.
        VARIANTS: Ways to run in it, each a row.
        SAMPLING: How points are read, see `ops.portable`.
        OPEN: Whether it can take a file whose sizes are open.
        MOST: The largest size that is open, in multiples of the traced one; None where there is no such bound.
        RUNS: Whether files can be run on this machine.
    """

    PACKAGES: tuple[str, ...]
    EXTRA: str
    VARIANTS: tuple[str, ...]
    SAMPLING: str
    OPEN: bool
    MOST: int | None
    RUNS: bool

    def convert(self, captured: Any, path: Path, variant: str, tensors: Sequence[Any]) -> None:
        """Write a captured program to a file. Raises ExportError.

        Args:
            captured: The program.
            path: The file, or the folder of several files.
            variant: One of `VARIANTS`.
            tensors: Inputs that it was captured with, for a runtime that calibrates.
        """

    def facts(self, path: Path) -> dict[str, Any]:
        """Return what is read from a file: nodes, opset, left and sizes, each None where nobody can say."""

    def load(self, path: Path, variant: str, threads: int) -> Loaded:
        """Load a file. Raises ExportError.

        Args:
            path: What `convert` wrote.
            variant: One of `VARIANTS`.
            threads: Threads of a call.
        """


def names() -> list[str]:
    """Return the names of all targets, without importing them."""
    return [module.name for module in pkgutil.iter_modules(__path__)]


def load(name: str) -> Target:
    """Return a target.

    Args:
        name: Its name.

    Raises:
        UpbenchError: If there is none of that name.
    """
    if name not in names():
        raise UpbenchError(f"--to {name}: must be one of {', '.join(names())}{suggestion(name, names())}")
    return cast(Target, importlib.import_module(f"{__name__}.{name}"))


def why_not(target: Target) -> str | None:
    """Return why nothing can be converted for a target, as a sentence without its period; None where it can."""
    if reason := getattr(target, "UNAVAILABLE", None):
        return str(reason)
    if missing := [name for name in target.PACKAGES if find_spec(name) is None]:
        more = getattr(target, "INSTALLED_ALONE", "")
        return f"{' and '.join(missing)} must be installed; {install(target.EXTRA, pinned=not more)}{more}"
    return None


def installed(target: Target) -> str | None:
    """Return the version of a target's package; None where it is not installed."""
    try:
        return version(target.PACKAGES[0].replace("_", "-")) if target.PACKAGES else None
    except PackageNotFoundError:
        return None
