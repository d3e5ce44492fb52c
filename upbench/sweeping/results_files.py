"""The files of a sweep's results: records, and beside them the passes that they are made of and the tables of them."""

from __future__ import annotations

from pathlib import Path

from upbench import files

TABLES = {".md": "markdown", ".csv": "csv", ".parquet": "parquet"}
"""Endings and formats of the tables that a sweep writes beside its results, Parquet where --format asks for it."""


def passes_path(path: Path) -> Path:
    """Return the passes file of a results file."""
    return path.with_suffix(".passes.jsonl")


def set_aside(path: Path) -> Path | None:
    """Rename a results file, its passes file and its tables, so that every cell is measured again and nothing old stays.

    Returns:
        Where the results file is now; None where there was none.
    """
    return files.set_aside(path, passes_path(path), *(path.with_suffix(ending) for ending in TABLES))
