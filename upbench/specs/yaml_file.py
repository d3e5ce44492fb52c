"""Reads YAML files, and adds to the message of a mistake the line it is in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from upbench.errors import SpecError, nearest

COMMAND_LINE = "command line"
"""Where a value comes from that an option gave."""
OTHER_FILES = {
    ".py": "is Python source, not YAML; name a class in it, as {stem}:Class",
    ".jsonl": "holds results, not {what}; `upbench table {path}` shows them",
    ".pth": "holds weights, not {what}; `upbench.load_weights` takes them",
    ".pt": "holds weights, not {what}; `upbench.load_weights` takes them",
    ".onnx": "is an exported file, not {what}; `upbench deploy NAME --to onnxruntime` measures an upsampler as such a file, and "
    "onnxruntime.InferenceSession('{path}') runs this one",
    ".aoti.pt2": "is a compiled file, not {what}; `upbench deploy NAME --to aoti` measures an upsampler as such a file, and "
    "torch._inductor.aoti_load_package('{path}') runs this one",
    ".pt2": "is an exported program, not {what}; torch.export.load('{path}').module() is the module in it",
}
"""Suffix of a file -> what it holds, for files that are no YAML."""


class Source(str):
    """The name of a file in messages, which knows the line of each key.

    Attributes:
        lines: Key, as "input.shape" or "cells[0].theta" -> its line, from 1.
        typed: Keys whose values came from the command line instead.
    """

    def __new__(cls, name: str, lines: Mapping[str, int]) -> Source:
        made = super().__new__(cls, name)
        made.lines, made.typed = dict(lines), set()
        return made

    lines: dict[str, int]
    typed: set[str]

    def where(self, key: str) -> str:
        """Return 'a.yaml, line 4', the line of a key or of the nearest key around it.

        Args:
            key: The key, as "input.shape".

        Returns:
            The file and the line; the file alone where no line is known; COMMAND_LINE for a key from there.
        """
        if key in self.typed:
            return COMMAND_LINE
        line = next((self.lines[part] for part in _around(key) if part in self.lines), None)
        if line is None:  # a sweep has the keys of a spec in its base and in its axes
            last = key.rpartition(".")[2]
            lines = {n for path, n in self.lines.items() if path.rpartition(".")[2] == last}
            line = lines.pop() if len(lines) == 1 else None
        return str(self) if line is None else f"{self}, line {line}"


def _around(key: str) -> Iterator[str]:
    """Yield 'a.b[2].c', 'a.b[2]', 'a.b', and so on to the outermost key."""
    yield key
    while "." in key or "[" in key:
        key = re.sub(r"(\.[^.\[]*|\[\d+\])$", "", key) if re.search(r"(\.[^.\[]*|\[\d+\])$", key) else ""
        yield key


def told(source: str, sentence: str, key: str | None = None) -> str:
    """Return a mistake with its location: "a.yaml, line 4: input.batch is 0, but must be ...".

    What options alone gave has no location: there is nothing else that it could be in.

    Args:
        source: The file, with its lines if it is a `Source`.
        sentence: The mistake, which begins with the key, as "input.batch is 0" or "grid.theta: unknown axis".
        key: The key, where the sentence begins with another.
    """
    if not isinstance(source, Source):
        return sentence.removeprefix("upsampler: ") if source == COMMAND_LINE else f"{source}: {sentence}"
    start = re.match(r"[\w+-]+(\.[\w+-]+|\[\d+\])*", sentence)
    found = key or (start[0] if start else "")
    return f"{source.where(found) if found else source}: {sentence}"


def typed(source: str, keys: Iterable[str]) -> None:
    """Note that values come from the command line and not from the file.

    Args:
        source: The file; a plain string is left as it is.
        keys: Their keys, as "params.theta".
    """
    if isinstance(source, Source):
        source.typed.update(keys)


class _Loader(yaml.SafeLoader):
    """A YAML loader that refuses a key given twice, which YAML forbids and PyYAML lets pass."""


def _mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[object] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, str | int | float | bool):
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
            seen.add(key)
    return dict(loader.construct_mapping(node, deep=True))


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read(path: Path, what: str = "a spec") -> tuple[dict[str, Any], Source]:
    """Read the mapping in a YAML file.

    Args:
        path: Path of the file.
        what: What the file should hold, for messages.

    Returns:
        The mapping, and the file with the lines of its keys.

    Raises:
        SpecError: If the file is missing, unreadable, not YAML, empty or no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError([f"{path}: there is no such file{_near(path)}"]) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SpecError([f"{path}: {other(path, what) or f'cannot be read ({reason})'}"]) from None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        lines = dict(_lines(node)) if node is not None else {}
        data = loader.construct_document(node) if node is not None else None
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise SpecError([f"{path}: {other(path, what) or f'is not valid YAML{where} ({problem})'}"]) from None
    if data is None:
        hint = "`upbench show NAME` prints a spec to start from" if what == "a spec" else f"write {what} into it"
        raise SpecError([f"{path}: is empty; {hint}"])
    if not isinstance(data, dict):
        known = other(path, what) if isinstance(data, str) else None
        said = f"holds a {type(data).__name__}, but {what} is a mapping of keys to values"
        raise SpecError([f"{path}: {known or said}"])
    return data, Source(str(path), lines)


def other(path: Path, what: str) -> str | None:
    """Return what a file holds by its suffix, where that is not YAML."""
    name = path.name.lower()
    sentence = next((said for suffix, said in OTHER_FILES.items() if name.endswith(suffix)), None)
    return sentence and sentence.format(stem=path.stem, path=path, what=what)


def _lines(node: yaml.Node, path: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, int]]:
    """Yield every key and item with its line; the target of an alias only where it is first."""
    seen = set() if seen is None else seen
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key_node, value in node.value:
            key = f"{path}.{key_node.value}" if path else str(key_node.value)
            yield key, key_node.start_mark.line + 1
            yield from _lines(value, key, seen)
    elif isinstance(node, yaml.SequenceNode):
        for n, item in enumerate(node.value):
            yield f"{path}[{n}]", item.start_mark.line + 1
            yield from _lines(item, f"{path}[{n}]", seen)


def _near(path: Path) -> str:
    """Return "; did you mean x?" for a YAML file of nearly this name in its folder, in this one or in sweeps/."""
    folders = dict.fromkeys((path.parent, Path(), Path("sweeps")))
    found = [file for folder in folders for file in sorted(folder.glob("*.y*ml")) if file.is_file()]
    stems = {file.stem: file for file in reversed(found)}
    close = nearest(path.stem, stems)
    return f"; did you mean {str(stems[close])!r}?" if close else ""
