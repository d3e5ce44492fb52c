"""Units in heads that were given."""

from __future__ import annotations

import pytest

from upbench.report.formats.table import Table
from upbench.report.tables import head_units, heading


@pytest.mark.parametrize(
    ("head", "cells", "expected"),
    [
        ("Time (ms)", ["8.12 ms", "456 us", "1.2 s", "-", "+1.25 ms"], ["8.12", "0.456", "1200", "-", "+1.25"]),
        ("Params (M)", ["2360320", "39.41K", "1.10G", "0"], ["2.360320", "0.03941", "1100", "0"]),
        ("Memory (MiB)", ["56.26 MiB", "66948 B", "2.00 GiB"], ["56.26", "0.063847", "2048"]),
        ("Time (ms)", ["8.12 ms", "1.38x SLOWER"], ["8.12 ms", "1.38x SLOWER"]),
        ("Time (ms)", ["8.12 ms", "39.41K"], ["8.12 ms", "39.41K"]),
        ("Time", ["8.12 ms"], ["8.12 ms"]),
        ("Time (ours)", ["8.12 ms"], ["8.12 ms"]),
    ],
)
def test_cells_stand_in_the_unit_of_their_head(head: str, cells: list[str], expected: list[str]) -> None:
    """All or none, of as many digits as before."""
    assert head_units.in_unit_of(head, cells) == expected


def test_a_given_head_alone_takes_the_units_out() -> None:
    heads = ["latency", "latency"]
    table = Table("", heads, [["8.12 ms", "8.12 ms"]], [True, True], heads, [[0.00812, 0.00812]], names=["a", "b"])
    found = heading.headed(table, {"b": "Time (ms)"})
    assert (found.heads, found.rows, found.raw_rows) == (
        ["latency", "Time (ms)"],
        [["8.12 ms", "8.12"]],
        table.raw_rows,
    )
