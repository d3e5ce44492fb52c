"""Accuracy as the functions of the API take it: files, or rows as mappings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from upbench.accuracy import sources
from upbench.accuracy.sources import Sources
from upbench.papers import given

Accuracies = str | Path | Mapping[str, Any] | Sequence[str | Path | Mapping[str, Any]]
"""A file, a row, a mapping of metrics and rows, or several of these."""


def read_accuracy(accuracy: Accuracies, host: str | None) -> Sources:
    """Return accuracy as it was given.

    Args:
        accuracy: Files, rows as mappings, or mappings of metrics and rows.
        host: The host whose published accuracy is shown; None for none.

    Raises:
        UpbenchError: A file or a row has mistakes, or no published table is of the host.
    """
    listed = [accuracy] if isinstance(accuracy, str | Path | Mapping) else list(accuracy)
    rows = [one for one in listed if isinstance(one, Mapping) and "rows" not in one]
    documents = [one for one in listed if isinstance(one, Mapping) and "rows" in one] + ([rows] if rows else [])
    found = sources.read([Path(one) for one in listed if isinstance(one, str | Path)], host)
    own = tuple(given.of_document(one, "accuracy") for one in documents)
    return Sources((*found.tables, *own), found.host)
