"""Whatever upbench printed as JSON is read like a results file, and what is no results file is one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import record_builder
from tests.command_line import upbench
from upbench.benchmark import measurement
from upbench.records import store

ROOT = Path(__file__).parents[2]
FAST = ["--shape", "8x6x5", "--budget", "0.02", "--device", "cpu", "--threads", "1"]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurement, "AA_S", 0.05)
    monkeypatch.chdir(tmp_path)


def write(name: str, *arguments: object) -> str:
    result = upbench(*arguments, "--format", "json")
    assert result.exit_code == 0, result.output
    Path(name).write_text(result.stdout)
    return name


def labels(*files: str) -> list[str]:
    result = upbench("table", *files, "--columns", "label,params", "--format", "json")
    assert result.exit_code == 0, result.output
    return [row["label"] for row in json.loads(result.stdout)["tables"][0]["rows"]]


def test_profile_compare_and_sweep_are_read_by_every_command_that_measures_nothing() -> None:
    compared = write("c.json", "compare", "nearest", "bilinear", *FAST)
    profiled = write("p.json", "profile", "bicubic", *FAST)
    assert labels(compared) == ["nearest", "bilinear"]
    assert labels(profiled) == ["bicubic"]
    assert labels(compared, profiled) == ["nearest", "bilinear", "bicubic"]
    swept = record_builder.theta_sweep()
    Path("s.json").write_text(json.dumps([record.to_dict() for record in swept], indent=2))
    assert labels("s.json") == [record.label for record in swept]
    for name in (compared, "s.json"):
        assert upbench("effects", name).exit_code == 0
        drawn = upbench("plot", name, "--output", "x.svg")
        assert drawn.exit_code == 0, drawn.output
        diff = upbench("diff", name, name)
        assert diff.exit_code == 0
        assert "FAILED" not in diff.stderr
    mixed = record_builder.file(Path("r.jsonl"), swept)
    assert labels(str(mixed), compared) == [*(record.label for record in swept), "nearest", "bilinear"]
    reproduced = upbench("reproduce", "--records", compared)
    assert reproduced.exit_code == 0, reproduced.output


def test_a_document_in_one_line_and_one_with_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    name = write("c.json", "compare", "nearest", "bilinear", *FAST, "--exact")
    text = Path(name).read_text()
    Path("one.json").write_text(json.dumps(json.loads(text)))
    Path("mark.json").write_bytes(text.encode("utf-8-sig"))
    Path("utf16.json").write_bytes(text.encode("utf-16"))
    for other in ("one.json", "mark.json", "utf16.json"):
        assert labels(other) == ["nearest", "bilinear"]
    assert store.read(tmp_path / "one.json").records == store.read(tmp_path / name).records


def test_groups_of_shapes_keep_their_references_in_diff() -> None:
    for name, shape in (("a", "8x6x5"), ("b", "8x6x6")):
        Path(f"{name}.yaml").write_text(f"upsampler: nearest\ninput: {{shape: {shape}}}\n")
    name = write("g.json", "compare", "a.yaml", "b.yaml", "bilinear", "--budget", "0.02", "--per-shape")
    contents = store.read(Path(name))
    assert [[r.label for r in records] for records, _ in contents.compared] == [["nearest", "bilinear"]] * 2
    assert [reference and reference.label for _, reference in contents.compared] == ["nearest", "nearest"]
    assert upbench("diff", name, name).exit_code == 0


def test_a_host_is_read_by_its_stages() -> None:
    host = ["--host", "faster-rcnn-r50", "--input", "64x64", "--budget", "0.02", "--device", "cpu"]
    name = write("h.json", "compare", "nearest", *host)
    assert set(labels(name)) == {"nearest"}
    assert upbench("diff", name, name).exit_code == 0


BASELINE = {"schema": 1, "kind": "upbench baseline", "upsamplers": []}
FILES: list[tuple[str, bytes, str]] = [
    ("theta.yaml", (ROOT / "sweeps" / "theta.yaml").read_bytes(), "a YAML file"),
    ("up.py", b"import torch\n\nclass Up:\n    pass\n" * 20, "a Python file"),
    ("x.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20, "a PNG picture"),
    ("named.jsonl", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20, "a PNG picture"),
    ("w.pth", b"PK\x03\x04" + bytes(500), "a ZIP archive"),
    ("other.json", b'{\n "a": 1,\n "b": [1,\n 2]\n}\n', "a JSON document without records of upbench"),
    ("other.jsonl", b'{\n "a": 1,\n "b": [1,\n 2]\n}\n', "a JSON document without records of upbench"),
    ("list.json", b"[\n1,\n2\n]\n", "a JSON document without records of upbench"),
    ("torn.json", b'{\n "schema": 1,\n "records": [\n', "a JSON document that is not complete"),
    ("lines.json", b'{"loss": 1}\n{"loss": 2}\n{"loss": 3}\n', "lines of JSON without a record of upbench"),
    ("t.csv", b"a,b\n1,2\n3,4\n", "a CSV table"),
    ("notes.txt", b"one\ntwo\nthree\n", "a text file"),
    ("base.json", json.dumps(BASELINE, indent=2).encode(), "a baseline of `upbench compare --save`"),
    ("d.json", json.dumps({"schema": 1, "findings": [], "old": "a", "new": "b"}).encode(), "the JSON of `upbench diff`"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "what"), FILES, ids=[name for name, _, _ in FILES])
def test_a_file_of_another_kind_is_one_sentence_in_every_command(name: str, content: bytes, what: str) -> None:
    Path(name).write_bytes(content)
    good = record_builder.file(Path("good.jsonl"), record_builder.theta_sweep())
    commands = [["table", name], ["effects", name], ["plot", name, "-o", "x.svg"], ["reproduce", "--records", name]]
    if name != "base.json":
        commands += [["diff", name, good], ["diff", good, name]]
    for command in commands:
        result = upbench(*command)
        assert result.exit_code == 2, command
        assert result.stdout == ""
        assert len(result.stderr.strip().splitlines()) == 1, result.stderr
        assert f"{name} is {what}" in result.stderr
        assert "results/theta.jsonl" in result.stderr
    if name == "d.json":  # JSON of upbench, which JSON of upbench replaces in every command
        return
    sweep = Path("s.yaml")
    sweep.write_text("name: s\nbase: {upsampler: nearest}\ninput: {shape: 8x6x5}\ngrid: {seed: [0]}\n")
    for more in ([], ["--dry-run"], ["--fresh"]):
        refused = upbench("sweep", sweep, *more, "--output", name)
        assert refused.exit_code == 2
        assert any(why in refused.stderr for why in ("nothing is added to it", "would be lost", "results are a .jsonl"))
    assert Path(name).read_bytes() == content


def test_the_table_of_a_sweep_says_where_its_records_are() -> None:
    record_builder.file(Path("t.jsonl"), record_builder.theta_sweep())
    Path("t.csv").write_text("theta,params\n5,1\n")
    assert "its records are in t.jsonl" in upbench("table", "t.csv").stderr


def test_torn_and_foreign_lines_of_a_results_file_are_named_one_by_one() -> None:
    records = [record.to_json() for record in record_builder.theta_sweep()]
    Path("r.jsonl").write_text("\n".join([records[0], "hello", '{"schema": 99}', records[1][:-9]]) + "\n")
    result = upbench("table", "r.jsonl")
    assert result.exit_code == 0
    assert [f"line {n}," in result.stderr for n in (1, 2, 3)] == [False, True, True]
    assert "; so is line 4\n" in result.stderr
    Path("torn.jsonl").write_text(records[0][:-9])
    torn = upbench("table", "torn.jsonl")
    assert torn.exit_code == 2
    assert "line 1, is torn" in torn.stderr
