"""Hashes of the source files of a user's module, which show whether a measurement is of the present code.

Counted in are the file of the module, the `__init__.py` of its packages, and what these import from the same package or
the same folder, one after another: Python files, compiled extensions, and sources of kernels that they name. Installed
libraries are left out. Files are compared byte by byte, so that an edited comment is an edit.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType
from weakref import WeakKeyDictionary

SUFFIXES = (".py", *EXTENSION_SUFFIXES, ".pyc")
"""Suffixes of files that a module can be imported from, in the order of the search."""
KERNEL_SUFFIXES = (".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".so")
"""Suffixes of files that are included when a Python file names them, as in torch.utils.cpp_extension.load."""

Hashes = dict[str, str]
"""Path, relative to the folder that the module is imported from -> SHA-256 of the file, its first 16 digits."""

_taken: WeakKeyDictionary[ModuleType, Hashes] = WeakKeyDictionary()


def of_loaded(module_name: str) -> Hashes:
    """Return the hashes of a module that is imported in this process, as its files were when this was first called.

    A process keeps running the code that it imported; files that change later do not change what it measures.

    Args:
        module_name: Name of the module in `sys.modules`.

    Returns:
        The hashes; empty for a module that was not made from a file, and for one of torch, whose 1,700 files
        its version in the record stands for.
    """
    if module_name.partition(".")[0] == "torch":
        return {}
    module = sys.modules.get(module_name)
    if module is None:
        return {}
    if module not in _taken:
        file = getattr(module, "__file__", None)
        _taken[module] = of_file(Path(file), module_name) if file else {}
    return _taken[module]


def of_file(file: Path, module_name: str) -> Hashes:
    """Return the hashes of the module in a file and of all that it imports from its package or folder.

    Args:
        file: File that the module was imported from.
        module_name: Name that it was imported under, with those of its packages.

    Returns:
        The hashes, in the order of their paths. Files that cannot be read are left out.
    """
    return _Walk(file.absolute(), module_name).hashes()


def folder_of(file: Path, module_name: str) -> Path | None:
    """Return the folder that a module is imported from; None for one of an installed package.

    Args:
        file: File that the module was imported from.
        module_name: Name that it was imported under, with those of its packages.
    """
    walk = _Walk(file.absolute(), module_name)
    return None if walk.installed else walk.root


def digest(hashes: Mapping[str, str] | None) -> str | None:
    """Return one hash of many files; None where there are none.

    Args:
        hashes: Hashes of the files; None counts as empty.
    """
    if not hashes:
        return None
    return _sha("\n".join(f"{path} {hashes[path]}" for path in sorted(hashes)).encode())


def changed(old: Mapping[str, str] | None, new: Mapping[str, str] | None) -> list[str]:
    """Return the paths that differ between two versions of the code: 'up.py', 'nets.py (new)', 'old.py (gone)'.

    Args:
        old: Hashes of the old version; None where they were not taken.
        new: Hashes of the new version; None where they were not taken.

    Returns:
        The paths in order; empty when all are equal, or where the hashes of a version are None.
    """
    if old is None or new is None:
        return []
    told = {path: "" for path in new if path in old and old[path] != new[path]}
    told |= {path: " (new)" for path in new if path not in old}
    told |= {path: " (gone)" for path in old if path not in new}
    return [f"{path}{told[path]}" for path in sorted(told)]


class _Walk:
    """Collects the files of one module; `root` is the folder of its first package, or else of the module itself."""

    def __init__(self, file: Path, name: str) -> None:
        parts = name.split(".")
        levels = len(parts) - (file.stem != "__init__")
        tail = file.parent if file.stem == "__init__" else file.with_name(file.name.partition(".")[0])
        if list(tail.parts[-len(parts) :]) != parts:  # loaded by its path, under a name of its own
            levels = next(n for n, folder in enumerate(file.parents) if not (folder / "__init__.py").exists())
            parts = [*file.parent.parts[len(file.parent.parts) - levels :], tail.name] if levels else [tail.name]
        self.root = file.parents[levels]
        self.folder = file.parent
        self.installed = self.root in _installed() or self.root.name in ("site-packages", "dist-packages")
        self.package = parts[0]
        self.queue = [*self._files(self.root, parts), file]

    def hashes(self) -> Hashes:
        """Return the hashes of all files that can be read."""
        found: Hashes = {}
        while self.queue:
            file = self.queue.pop()
            key = self._key(file)
            if key in found:
                continue
            try:
                content = file.read_bytes()
            except OSError:
                continue
            found[key] = _sha(content)
            if file.suffix == ".py":
                self.queue += self._named_in(file, content)
        return dict(sorted(found.items()))

    def _key(self, file: Path) -> str:
        return file.relative_to(self.root).as_posix() if file.is_relative_to(self.root) else file.name

    def _named_in(self, file: Path, content: bytes) -> Iterator[Path]:
        """Yield the local files that a Python file imports or names anywhere, in functions and under conditions too."""
        try:
            tree = ast.parse(content)
        except (SyntaxError, ValueError):
            return
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield from self._imported(alias.name.split("."))
            elif isinstance(node, ast.ImportFrom):
                base = node.module.split(".") if node.module else []
                for alias in node.names:
                    yield from self._imported([*base, alias.name], _above(file, node.level))
            elif isinstance(node, ast.Call):
                yield from self._called(node, file)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from _kernel(file.parent, node.value)

    def _called(self, node: ast.Call, file: Path) -> Iterator[Path]:
        """Yield the file of `importlib.import_module("x")` and of `__import__("x")`."""
        name = getattr(node.func, "attr", getattr(node.func, "id", None))
        first = node.args[0] if node.args else None
        if name in ("import_module", "__import__") and isinstance(first, ast.Constant) and isinstance(first.value, str):
            dots = len(first.value) - len(first.value.lstrip("."))
            yield from self._imported(first.value[dots:].split("."), _above(file, dots))

    def _imported(self, parts: Sequence[str], folder: Path | None = None) -> Iterator[Path]:
        """Yield the files that importing a dotted name runs; `folder` is the start of a relative import."""
        if folder is not None:
            if not self.installed or folder.is_relative_to(self.root / self.package):
                yield from self._files(folder, parts)
            return
        if self.installed:
            if parts[0] == self.package:
                yield from self._files(self.root, parts)
        elif parts[0] != "upbench":
            for start in dict.fromkeys((self.root, self.folder)):
                yield from self._files(start, parts)

    def _files(self, start: Path, parts: Sequence[str]) -> Iterator[Path]:
        """Yield the files of a dotted name below a folder, from its first package to the module."""
        here = start
        for part in ("", *parts):
            folder = here / part
            init = _module(folder / "__init__")
            if part and init is None and (module := _module(folder)) is not None:
                yield module
                return
            if not folder.is_dir():
                return
            if init is not None and folder != self.root:
                yield init
            here = folder


def _above(file: Path, dots: int) -> Path | None:
    """Return the folder that a relative import with this number of dots starts from; None for an absolute one."""
    return file.parents[min(dots, len(file.parents)) - 1] if dots else None


def _module(stem: Path) -> Path | None:
    """Return the file that a module is imported from; None where there is none."""
    return next((file for suffix in SUFFIXES if (file := stem.with_name(stem.name + suffix)).is_file()), None)


def _kernel(folder: Path, text: str) -> Iterator[Path]:
    plausible = text.endswith(KERNEL_SUFFIXES) and len(text) < 500 and "\n" not in text and "\0" not in text
    if plausible and (file := folder / text).is_file():
        yield file


def _installed() -> set[Path]:
    """Return the folders that libraries are installed in."""
    import sysconfig

    return {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib", "platstdlib")}


def _sha(content: bytes) -> str:
    import hashlib  # with OpenSSL behind it; most runs have no module of a user

    return hashlib.sha256(content).hexdigest()[:16]
