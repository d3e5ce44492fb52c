"""The files of a sweep's results: records, and beside them the passes that they are made of."""

from __future__ import annotations

from pathlib import Path

from upbench import files


def passes_path(path: Path) -> Path:
    """Return the passes file of a results file."""
    return path.with_suffix(".passes.jsonl")


def set_aside(path: Path) -> Path | None:
    """Rename a results file and its passes file, so that every cell is measured again.

    Returns:
        Where the results file is now; None where there was none.
    """
    kept = files.set_aside(path)
    files.set_aside(passes_path(path))
    return kept
