"""Finds what a user names as package.module:name, in the current folder or the environment, and says why it cannot be had."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from upbench.errors import UpbenchError, first_line, nearest, unknown, user_line


def search_here() -> None:
    """Put the current folder on the path, as `python -m` does and a console script does not."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def load(
    kind: str,
    path: str,
    of: str = "class",
    importer: Callable[[str], ModuleType] | None = None,
    others: Iterable[str] = (),
) -> Any:
    """Return what "package.module:name" stands for, the current folder searched as well.

    Args:
        kind: What the path is of, as "upsampler".
        path: The path.
        of: What a name in the module is of: "class", or "class or function".
        importer: Imports the module; None for Python's own way.
        others: Names of this kind that stand without a module, which a module that is not there may have meant.

    Raises:
        UpbenchError: If the module is not there or fails while it is imported. Its cause is the error that it raised.
        UnknownName: If the module has no such name; names the nearest one.
    """
    search_here()
    module_name, _, attribute = path.partition(":")
    module = _imported(kind, path, of, importer, others)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise unknown(f"{of} in {module_name}", attribute, _defined(module, of))
        found = getattr(found, part)
    return found


def _defined(module: ModuleType, of: str) -> list[str]:
    """Return the names of a module's own classes, and of its functions where these count as well."""
    own = {n: v for n, v in vars(module).items() if getattr(v, "__module__", None) == module.__name__}
    return [n for n, v in own.items() if inspect.isclass(v) or (of != "class" and inspect.isfunction(v))]


def _imported(
    kind: str, path: str, of: str, importer: Callable[[str], ModuleType] | None, others: Iterable[str]
) -> ModuleType:
    """A module of the user's. Raises UpbenchError that says whether it is not there, or which of its lines failed."""
    name, _, attribute = path.partition(":")
    form = f"package.module:{'Class' if of == 'class' else 'callable'}"
    if "/" in name or name.endswith(".py"):
        raise UpbenchError(f"{kind} {path!r}: {_as_imported(name, attribute)}")
    try:
        return (importer or importlib.import_module)(name)
    except ModuleNotFoundError as error:
        missing = error.name is not None and f"{name}.".startswith(f"{error.name}.")
        if not missing or user_line(error):
            raise _broken(kind, path, error) from error
        raise UpbenchError(
            f"{kind} {path!r}: {_not_there(name, str(error))}{_meant(name, attribute, others)}"
        ) from None
    except (ValueError, TypeError) as error:
        if user_line(error):
            raise _broken(kind, path, error) from error
        raise UpbenchError(f"{kind} {path!r}: {name!r} is not the name of a module; write {form}") from None
    except (Exception, SystemExit) as error:
        raise _broken(kind, path, error) from error


def _not_there(name: str, error: str) -> str:
    """Return which files were looked for under the name of a module, and from where they are found."""
    parts = name.split(".")
    stem = "/".join(parts)
    looked = f"{stem}.py or {stem}/__init__.py"
    if len(parts) > 1 and not _is_module(parts[0]) and not Path(parts[0]).is_dir():
        looked = f"{stem}.py, and no folder {parts[0]}"
    return (
        f"there is no {looked} in {Path.cwd()}, nor such a module in the environment ({error}); run this from the folder "
        f"that holds {parts[0] if len(parts) > 1 else f'{name}.py'}"
    )


def _broken(kind: str, path: str, error: BaseException) -> UpbenchError:
    """The error for a file of the user's that fails while it is imported."""
    where = user_line(error)
    if where is None:
        module = path.partition(":")[0]
        return UpbenchError(f"{kind} {path!r}: module {module!r} failed while it was imported: {first_line(error)}")
    return UpbenchError(f"{kind} {path!r}: {where} failed while it was imported: {first_line(error, located=False)}")


def _as_imported(file: str, attribute: str) -> str:
    """Return how something in a file is written: by the name that Python imports the file by."""
    here = Path.cwd()
    place = Path(os.path.normpath(here / file)).with_suffix("")
    try:
        dotted = ".".join(place.relative_to(here).parts)
    except ValueError:
        return (
            f"a module is imported from the current folder; run this in {place.parent}, with {place.name}:{attribute}"
        )
    return f"write the module as Python imports it: {dotted}:{attribute}"


def _meant(name: str, attribute: str, others: Iterable[str]) -> str:
    """Return "; did you mean x?" for the nearest module of the folder, or the nearest other name."""
    package, dot, _ = name.rpartition(".")
    paths = {f"{package}{dot}{module}": f"{package}{dot}{module}:{attribute}" for module in _modules_in(package)}
    close = nearest(name, [*paths, *(() if dot else others)])
    return f"; did you mean {paths.get(close, close)!r}?" if close else ""


def _modules_in(package: str) -> list[str]:
    """Return the names of the modules in a package under the current folder, of the folder itself for an empty name."""
    folder = Path(*package.split(".")) if package else Path()
    files = [path.stem for path in sorted(folder.glob("*.py")) if path.stem.isidentifier()]
    return files + [path.parent.name for path in sorted(folder.glob("*/__init__.py"))]


def _is_module(dotted: str) -> bool:
    if not all(part.isidentifier() for part in dotted.split(".")):
        return False
    stem = dotted.replace(".", "/")
    return Path(f"{stem}.py").is_file() or Path(stem, "__init__.py").is_file()


def spelling(text: str) -> str | None:
    """Return how to name something in a module of the current folder, for a name without a colon.

    Args:
        text: The name, as "my_up", "my_up.py" or "my_up.GatedUp".

    Returns:
        A sentence; None where the text names no module here.
    """
    module, dot, attribute = text.rpartition(".")
    if _is_module(text):
        return f"{text} is a module here: a class in it is written {text}:Class"
    if attribute == "py" and Path(text).is_file():
        return _as_imported(text, "Class")
    if dot and _is_module(module):
        return f"{module} is a module here: write {module}:{attribute}"
    return None
