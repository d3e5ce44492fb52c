"""Records in what `profile`, `compare` and `sweep` print with --format json, and files that hold no records at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from upbench.errors import StoreError
from upbench.records import file_kinds
from upbench.records.record import Record, from_dict


@dataclass
class Contents:
    """What a file of records holds.

    Args:
        records: The records.
        skipped: A sentence, with its number, for each line or part that is no record.
        compared: Of a comparison, the records that were measured side by side, and the one that ratios are taken to.
        other: What the file is and what is wanted, in a sentence, where it holds no records by its kind; it is skipped.
    """

    records: list[Record] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    compared: list[tuple[list[Record], Record | None]] = field(default_factory=list)
    other: str | None = None


def read(content: bytes, path: Path) -> Contents | None:
    """Return the records of a JSON document: one record, a list of them, or a comparison; None for anything else.

    Args:
        content: of the file.
        path: named in sentences.

    Raises:
        StoreError: for a comparison that measured nothing, since a check failed.
    """
    if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"[") and not content.startswith(
        (b"\xff\xfe", b"\xfe\xff")
    ):
        return None
    data = _json(file_kinds.text_of(content))
    if isinstance(data, Mapping) and _is_record(data):
        return _records([data], path) if _line_count(content) > 1 else None
    if isinstance(data, list) and data and all(map(_is_record, data)):
        return _records(data, path)
    if not isinstance(data, Mapping) or not isinstance(parts := data.get("records"), list):
        return None
    if not parts:
        raise StoreError(f"{path} holds no record: its comparison measured nothing, since a check failed")
    found = _records(parts, path)
    found.compared = _compared(data, found)
    if isinstance(stages := data.get("stages"), list):  # in a host: what tables can show is of a shape, a stage
        found.records = _records([record for each in stages for record in each], path).records
    return found


def json_of(path: Path) -> Any:
    """Return the value in a JSON file; None where there is none."""
    try:
        return _json(file_kinds.text_of(path.read_bytes()))
    except OSError:
        return None


def is_results_file(content: bytes, path: Path) -> bool:
    """Return whether a file in which no line is a record is still a results file: empty, torn, or of another schema."""
    lines = [line for line in content.splitlines() if line.strip()]
    if file_kinds.other_lines(content) is not None:
        return False
    if any(line.lstrip().startswith(b'{"schema"') and _like_a_record(line) for line in lines):
        return True
    if content.startswith(tuple(start for start, _ in file_kinds.MAGIC)):
        return False
    return not lines or (path.suffix == ".jsonl" and (len(lines) == 1 or _json(file_kinds.text_of(content)) is None))


def other_kind(path: Path, content: bytes) -> str:
    """Return a sentence that says what a file is, and what is wanted."""
    more = file_kinds.advice(path)
    return (
        f"{path} is {file_kinds.describe(path, content)} and holds no record; give a results file, as "
        f"results/theta.jsonl, or the --format json of profile, compare or sweep{f' ({more})' if more else ''}"
    )


def _records(parts: Sequence[Any], path: Path) -> Contents:
    found = Contents()
    for number, part in enumerate(parts, 1):
        try:
            found.records.append(from_dict(part, f"{path}, record {number},"))
        except StoreError as error:
            found.skipped.append(f"{error}; the record is skipped")
    return found


def _compared(data: Mapping[str, Any], found: Contents) -> list[tuple[list[Record], Record | None]]:
    """The records of each work, with the one that its ratios are to, by label."""
    if found.skipped:
        return []
    groups = data.get("groups") or [{"records": len(found.records), "reference": data.get("reference")}]
    sides, at = [], 0
    for group in groups:
        own = found.records[at : at + group["records"]]
        at += group["records"]
        sides.append((own, next((record for record in own if record.label == group["reference"]), None)))
    return sides


def _is_record(data: object) -> bool:
    return isinstance(data, Mapping) and {"schema", "label", "spec"} <= set(data)


def _like_a_record(line: bytes) -> bool:
    data = _json(line.decode("utf-8", errors="replace"))
    return data is None or (isinstance(data, Mapping) and ("label" in data or set(data) == {"schema"}))


def _line_count(content: bytes) -> int:
    return sum(bool(line.strip()) for line in content.splitlines())


def _json(text: str | None) -> Any:
    """The value in a JSON text; None where it is none."""
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return None
