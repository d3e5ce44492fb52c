"""A table as a Parquet file, for those who go on in pandas, Polars or DuckDB. Needs pyarrow, the extra `parquet`."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from upbench.errors import OutputError, install
from upbench.report.formats.table import Table

if TYPE_CHECKING:
    import pyarrow

SUFFIX = ".parquet"
"""The end of the name of such a file."""


def check_installed() -> None:
    """Raise OutputError where pyarrow is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise OutputError(f"--format parquet needs pyarrow, which is not installed; {install('parquet')}")


def parquet(table: Table) -> bytes:
    """Return the raw values of a table as a Parquet file, in SI base units, one row for each record.

    A column holds whole numbers, floats, truth values or texts; what is unknown is null, which is not NaN. Values of
    several kinds, as an axis of numbers and names has them, are texts. The title, the notes and the footnotes are in
    the file's metadata, as JSON under `upbench`.

    Raises:
        OutputError: If pyarrow is not installed.
    """
    check_installed()
    import pyarrow
    from pyarrow import parquet as files

    arrays = [_array([row[n] for row in table.raw_rows]) for n in range(len(table.raw_heads))]
    about = {"title": table.title, "notes": table.notes, "footnotes": table.footnotes}
    found = pyarrow.table(arrays, names=table.raw_heads).replace_schema_metadata({"upbench": json.dumps(about)})
    sink = pyarrow.BufferOutputStream()
    files.write_table(found, sink)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _array(values: Sequence[Any]) -> pyarrow.Array:
    """Values as a column of the one type that they have."""
    import pyarrow

    kinds = {type(value) for value in values if value is not None}
    if kinds and not kinds <= {int, float} and len(kinds) > 1:
        return pyarrow.array([_text(value) for value in values], pyarrow.string())
    if kinds == {int, float}:
        return pyarrow.array([None if value is None else float(value) for value in values], pyarrow.float64())
    try:
        return pyarrow.array(values)
    except (pyarrow.ArrowException, OverflowError):
        return pyarrow.array([_text(value) for value in values], pyarrow.string())


def _text(value: Any) -> str | None:
    return None if value is None else value if isinstance(value, str) else json.dumps(value, default=str)
