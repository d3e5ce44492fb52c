"""Describes a file of another kind than was needed, from its first bytes and its name, for messages."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive, as weights of torch are"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
)
NAMES: dict[str, str] = {
    ".py": "a Python file",
    ".yaml": "a YAML file",
    ".yml": "a YAML file",
    ".md": "a Markdown file",
    ".csv": "a CSV table",
    ".tsv": "a table of text",
    ".html": "an HTML page",
    ".tex": "a LaTeX file",
    ".svg": "an SVG picture",
    ".xml": "an XML file",
    ".toml": "a TOML file",
    ".pt": "a file of torch",
    ".pth": "a file of torch",
}
ADVICE: dict[str, str] = {
    ".yaml": "`upbench sweep` measures a sweep, `upbench profile` a spec, and --format json keeps what they print",
    ".py": "`upbench profile package.module:Class --format json` measures a class in it",
}
ADVICE[".yml"] = ADVICE[".yaml"]


_PASSES = "a file of passes, from which a sweep goes on,"
OTHER_LINES: tuple[tuple[bytes, str], ...] = (
    (b'{"schema":"pass 1"', _PASSES),
    (b'{"schema":"counted 1"', _PASSES),
    (b'{"kind": "quality"', "a file of `upbench quality`, whose command prints its table again,"),
    (b'{"key": ', "a file of `upbench deploy --record`, whose command prints its table again,"),
)
"""How files of lines begin that upbench writes and that are no records, and what they are."""


def other_lines(content: bytes) -> str | None:
    """Return what a file of lines is that upbench wrote and that holds no records by its kind; None for other files."""
    return next((what for start, what in OTHER_LINES if content.startswith(start)), None)


def text_of(content: bytes) -> str | None:
    """Return the text of a file in UTF-8, or in UTF-16 where its first bytes say so; None where it is no text."""
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def describe(path: Path, content: bytes) -> str:
    """Return what a file is, as 'a PNG picture'."""
    if (ours := other_lines(content)) is not None:
        return ours
    for start, what in MAGIC:
        if content.startswith(start):
            return what
    text = text_of(content)
    if text is None:
        return NAMES.get(path.suffix.lower(), "a binary file")
    first = text.lstrip()[:1]
    if first in ("{", "["):
        return _json(text)
    if path.suffix.lower() in NAMES:
        return NAMES[path.suffix.lower()]
    return "a text file"


def advice(path: Path) -> str:
    """Return what to do with a file of this name instead; empty where nothing is known."""
    if (results := results_of(path)) is not None:
        return f"its records are in {results.name}"
    if path.suffix.lower() in (".csv", ".md", ".png", ".svg", ".pdf", ".tex", ".html"):
        beside = path.with_suffix(".jsonl")
        return f"its records are in {beside}" if beside.is_file() else ""
    return ADVICE.get(path.suffix.lower(), "")


def results_of(path: Path) -> Path | None:
    """Return the results file that a file of passes belongs to, by its name; None for other files."""
    name = path.name.removesuffix(".passes.jsonl")
    return path.with_name(f"{name}.jsonl") if name != path.name else None


def _json(text: str) -> str:
    """What a JSON document is, by the keys that those of upbench have."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) > 1 and all(_whole(line) for line in lines[:-1]):
            return "lines of JSON without a record of upbench"
        where = f" (it ends in line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        return f"a JSON document that is not complete{where}"
    if not isinstance(data, Mapping):
        return "a JSON document without records of upbench"
    return next((what for keys, what in _DOCUMENTS if keys <= set(data)), "a JSON document without records of upbench")


_DOCUMENTS: tuple[tuple[set[Any], str], ...] = (
    ({"kind", "upsamplers"}, "a baseline of `upbench compare --save`"),
    ({"findings", "old", "new"}, "the JSON of `upbench diff`, which has findings and no records"),
    ({"findings", "against", "versions"}, "the JSON of `upbench compare --against`, which has two versions of each"),
    ({"tables"}, "tables printed with --format json, which have no samples"),
)


def _whole(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
