"""Tables as Parquet files: readable by others, with types that are right, and only where pyarrow is."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pandas
import pytest

from tests import record_builder
from tests.command_line import refused, upbench
from upbench.report.formats import render
from upbench.report.formats.table import Table

pyarrow = pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
from pyarrow import parquet  # noqa: E402


def _table(**columns: list[Any]) -> Table:
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    return Table("A title", [], [], [], list(columns), rows, notes=["A note."])


def _read(content: str | bytes) -> Any:
    assert isinstance(content, bytes)
    return parquet.read_table(io.BytesIO(content))


def test_what_is_whole_a_float_or_unknown_stays_so() -> None:
    nan = float("nan")
    found = _read(
        render.render(
            [
                _table(
                    whole=[1, None, 2**53 + 1],
                    float=[0.5, None, nan],
                    both=[1, 2.5, None],
                    truth=[True, None, False],
                    text=["a", None, "b"],
                    mixed=["off", 3, None],
                    lists=[[1, 2], None, [3]],
                    far=[2**70, None, 1],
                    unknown=[None, None, None],
                )
            ],
            "parquet",
        )
    )
    kinds = {field.name: str(field.type) for field in found.schema}
    assert kinds["whole"] == "int64"
    assert kinds["float"] == kinds["both"] == "double"
    assert kinds["truth"] == "bool"
    assert kinds["text"] == kinds["mixed"] == kinds["far"] == "string"
    assert kinds["unknown"] == "null"
    rows = found.to_pylist()
    assert [row["whole"] for row in rows] == [1, None, 2**53 + 1]
    assert rows[1]["float"] is None
    assert rows[2]["float"] != rows[2]["float"], "NaN is a value, not an unknown one"
    assert [row["mixed"] for row in rows] == ["off", "3", None]
    assert rows[0]["far"] == str(2**70)
    about = json.loads(found.schema.metadata[b"upbench"])
    assert about["title"] == "A title"
    assert about["notes"] == ["A note."]


def test_pandas_and_duckdb_read_the_table_of_a_results_file(tmp_path: Path) -> None:
    records = record_builder.theta_sweep()
    records.append(record_builder.record(axes={"theta": 15}, cell=9, theta=15, status="oom", error="no memory"))
    file = record_builder.file(tmp_path / "r.jsonl", records)
    out = tmp_path / "r.parquet"
    assert upbench("table", file, "-o", out).stdout == ""
    frame = pandas.read_parquet(out)
    assert frame["theta"].tolist() == [5, 7, 9, 11, 13, 15]
    assert frame["params"].isna().tolist() == [False] * 5 + [True]
    csv = pandas.read_csv(io.StringIO(upbench("table", file, "--format", "csv").stdout))
    assert list(frame.columns) == list(csv.columns)
    assert frame["latency_median_s"].tolist()[:5] == csv["latency_median_s"].tolist()[:5]
    duckdb = pytest.importorskip("duckdb")
    rows = duckdb.sql(f"SELECT theta, flops, error FROM '{out}' WHERE status <> 'ok' OR theta = 5 ORDER BY theta")
    assert rows.fetchall() == [(5, 10**9, None), (15, None, "no memory")]


@pytest.mark.parametrize("words", [["effects", "--part", "front"], ["table"], ["diff"]])
def test_commands_print_it_to_a_pipe(tmp_path: Path, words: list[str]) -> None:
    file = record_builder.file(tmp_path / "r.jsonl", record_builder.theta_sweep())
    command, *more = words
    files = [file, file] if command == "diff" else [file]
    result = upbench(command, *files, *more, "--format", "parquet")
    assert _read(result.stdout_bytes).num_rows > 0


def test_compare_writes_it(tmp_path: Path) -> None:
    out = tmp_path / "c.parquet"
    fast = ["--budget", "0.02", "--threads", "1", "--device", "cpu"]
    done = upbench("compare", "nearest", "--shape", "8x6x5", *fast, "-o", out)
    assert done.exit_code == 0, done.stderr
    (row,) = parquet.read_table(out).to_pylist()
    assert row["label"] == "nearest"
    assert isinstance(row["params"], int)
    assert isinstance(row["latency_median_s"], float)


def test_a_sweep_writes_it_beside_its_results(tmp_path: Path) -> None:
    spec = tmp_path / "s.yaml"
    spec.write_text(
        "name: s\nbase: {upsampler: bilinear}\ninput: {shape: 8x6x5}\n"
        "measure: {budget: 0.05, device: cpu, threads: 1}\ngrid: {batch: [1, 2]}\n"
    )
    out = tmp_path / "s.jsonl"
    done = upbench("sweep", spec, "-o", out, "--format", "parquet")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == ""
    assert f"{out} and its .md, .csv and .parquet hold 2 of 2 cells" in done.stderr
    assert [row["batch"] for row in parquet.read_table(tmp_path / "s.parquet").to_pylist()] == [1, 2]
    assert (tmp_path / "s.md").exists()
    assert (tmp_path / "s.csv").exists()
    done = upbench("sweep", spec, "-o", out, "-o", tmp_path / "other.parquet", "-o", tmp_path / "s.tex")
    assert done.exit_code == 0, done.stderr
    assert parquet.read_table(tmp_path / "other.parquet").num_rows == 2
    assert (tmp_path / "s.tex").read_text().startswith("% needs")
    assert "would all be the results file" in refused("sweep", spec, "-o", out, "-o", tmp_path / "t.jsonl")


def test_what_cannot_be_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = record_builder.file(tmp_path / "r.jsonl", record_builder.theta_sweep())
    said = refused("table", file, "--format", "csv", "-o", tmp_path / "r.parquet")
    assert "has the name of a Parquet file, but --format is csv" in said
    out = tmp_path / "x.parquet"
    upbench("table", file, "-o", out)
    assert "is a Parquet file and holds no record" in refused("table", out)
    assert upbench("table", file, "-o", out).exit_code == 0, "a table is replaced by a table"
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "in the clone of upbench run: pip install -c constraints.txt -e '.[parquet]'" in refused(
        "table", file, "-o", tmp_path / "y.parquet"
    )
