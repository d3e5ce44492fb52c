"""The accuracy of a sweep, kept in a file beside its results, so that they can be shown again without the sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from upbench import files
from upbench.accuracy import proxies
from upbench.accuracy.sources import Sources
from upbench.errors import OutputError
from upbench.papers import given
from upbench.records.record import Record
from upbench.specs import yaml_file

HEADER = "# Accuracy as it was given to upbench sweep, for upbench table, effects and plot. Written anew by the next sweep.\n"
"""The first line of such a file, by which it is recognised."""


def path_of(results: Path) -> Path:
    """Return the path of the file beside a results file: results/theta.accuracy.yaml."""
    return results.with_suffix(".accuracy.yaml")


def check(results: Path) -> None:
    """Raise OutputError where the file beside results is not one that upbench wrote, or cannot be written."""
    path = path_of(results)
    if path.is_file() and not path.read_bytes().startswith(HEADER.encode()):
        raise OutputError(f"{path} would be overwritten, and upbench did not write it; give it another name")
    files.check_writable(path)


def write(results: Path, sources: Sources) -> None:
    """Write the accuracy of a sweep beside its results; take the file away where it has none any more."""
    path = path_of(results)
    if sources:
        data: dict[str, Any] = {"tables": [table.document() for table in sources.tables]}
        data |= {} if sources.host is None else {"host": sources.host}
        data |= {"proxies": [one.document() for one in sources.proxies]} if sources.proxies else {}
        files.write_text(path, HEADER + yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=1000))
    elif path.is_file() and path.read_bytes().startswith(HEADER.encode()):
        path.unlink()


def read(results: Path) -> Sources:
    """Return the accuracy beside a results file; an empty one where there is none.

    Raises:
        SpecError: The file has mistakes.
    """
    path = path_of(results)
    if not path.is_file():
        return Sources()
    data, source = yaml_file.read(path, "accuracy")
    tables = [given.of_document(table, source) for table in data.get("tables") or ()]
    scored = [proxies.of_document(one, source) for one in data.get("proxies") or ()]
    return Sources(tuple(tables), data.get("host"), tuple(scored))


def attached(
    results: Path, records: Sequence[Record], instead: Sources | None = None
) -> tuple[list[Record], list[str]]:
    """Return the records of a results file with the accuracy beside it, and a sentence for rows that belong to none.

    Args:
        results: The results file.
        records: Its records.
        instead: Accuracy that a command is given; tables among it stand in place of those beside the file, a host too.
    """
    kept = read(results)
    if instead is not None:
        host = kept.host if instead.host is None else None
        kept = Sources(() if instead.tables else kept.tables, host, kept.proxies)
    return kept.attached(records)
