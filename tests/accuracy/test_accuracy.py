"""A user's accuracy beside measured cost, through the command line: in tables, effects, the front, and every format."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

import upbench as api
from tests.command_line import refused, upbench
from tests.record_builder import record
from upbench.accuracy import beside, on_host
from upbench.accuracy.sources import Sources
from upbench.papers import given
from upbench.records import store
from upbench.records.record import Record

THETAS = (5, 11)
GROUPS = (1, 2)
LATENCY = {(5, 1): 0.001, (5, 2): 0.002, (11, 1): 0.004, (11, 2): 0.008}


def ablation(folder: Path) -> Path:
    """Results of two axes, as a sweep writes them."""
    path = folder / "made.jsonl"
    for n, ((theta, groups), seconds) in enumerate(LATENCY.items()):
        axes = {"theta": theta, "groups": groups}
        store.append(path, record(axes=axes, cell=n, latency_s=seconds, params=1000 + 10 * theta, **axes))
    return path


def accuracy(folder: Path, text: str = "", name: str = "ap.csv") -> Path:
    path = folder / name
    rows = "theta,groups,seed,AP\n" + "".join(
        f"{t},{g},{seed},{38 + t / 10 + g / 100 + seed / 10:.2f}\n"
        for t in THETAS
        for g in GROUPS
        for seed in (0, 1, 2)
    )
    path.write_text(text or rows)
    return path


def shown(*arguments: object) -> str:
    result = upbench(*arguments, env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def rows(*arguments: object) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(shown(*arguments, "--format", "csv"))))


def test_a_table_has_it_as_given_with_its_deviation_and_differences(tmp_path: Path) -> None:
    file, ap = ablation(tmp_path), accuracy(tmp_path)
    text = shown("table", file, "--accuracy", ap, "--columns", "AP,params")
    assert "AP (given) [a]" in text
    assert "38.61 +- 0.10" in text
    assert f"[a] given ({ap}), not measured here: of the whole model; +-: standard deviation over 3 runs." in " ".join(
        line.strip() for line in text.replace("\n", " ").split()
    ).replace("  ", " ")
    text = shown("table", file, "--accuracy", ap, "--columns", "AP,params", "--base", "theta=5")
    assert "+0.60" in text
    assert "+60" in text
    (first, *_) = rows("table", file, "--accuracy", ap)
    assert (first["AP_runs"], first["AP_origin"], first["AP_source"]) == ("3", "given", str(ap))
    assert float(first["AP"]) == pytest.approx(38.61)
    assert float(first["AP_sd"]) == pytest.approx(0.1)


def test_every_format_carries_it(tmp_path: Path) -> None:
    file, ap = ablation(tmp_path), accuracy(tmp_path)
    for form in ("markdown", "latex", "html", "json"):
        text = shown("table", file, "--accuracy", ap, "--columns", "AP,latency", "--format", form)
        assert "39.22" in text or "39.22" in str(json.loads(text)["tables"][0]["rows"][3]["AP"])
        assert "given" in text
    table = json.loads(shown("table", file, "--accuracy", ap, "--columns", "AP", "--format", "json"))["tables"][0]
    assert table["emphasis"][3] == {"AP (given)": "best"}


def test_effects_and_the_front_are_of_it_too(tmp_path: Path) -> None:
    file, ap = ablation(tmp_path), accuracy(tmp_path)
    effects = rows("effects", file, "--accuracy", ap, "--part", "effects", "--metrics", "AP,latency")
    of_ap = {(row["axis"], row["level"]): float(row["difference"]) for row in effects if row["metric"] == "AP"}
    assert of_ap == {("theta", "11"): pytest.approx(0.6), ("groups", "2"): pytest.approx(0.01)}
    worse = accuracy(tmp_path, "theta,groups,AP\n5,1,39\n5,2,38\n11,1,38.5\n11,2,40\n", "worse.csv")
    front = rows("effects", file, "--accuracy", worse, "--part", "front", "--metrics", "AP,params,latency")
    assert [row["on_front"] for row in front] == ["True", "False", "False", "True"]
    assert front[1]["dominated_by"] == "theta=5, groups=1"


def test_a_pivot_turns_it_and_a_lower_one_is_better_where_the_head_says_so(tmp_path: Path) -> None:
    file = ablation(tmp_path)
    error = accuracy(tmp_path, 'theta,groups,"err (px, lower)"\n5,1,1.5\n5,2,1.4\n11,1,1.3\n11,2,1.2\n', "err.csv")
    table = json.loads(shown("table", file, "--accuracy", error, "--pivot", "--columns", "err", "--format", "json"))
    assert table["tables"][0]["emphasis"] == [{}, {"groups=1": "second", "groups=2": "best"}]


def test_rows_that_match_nothing_are_named_and_cells_without_a_row_have_a_dash(tmp_path: Path) -> None:
    file, ap = ablation(tmp_path), accuracy(tmp_path, "theta,groups,AP\n5,1,38.5\n13,1,39.0\n")
    result = upbench("table", file, "--accuracy", ap, "--columns", "AP", "--format", "csv")
    assert f"upbench: {ap}: 1 row matches nothing that is measured: theta=13, groups=1\n" in result.stderr
    assert [row["AP"] for row in csv.DictReader(io.StringIO(result.stdout))] == ["38.5", "", "", ""]


def test_what_cannot_be_joined_is_refused(tmp_path: Path) -> None:
    file = ablation(tmp_path)
    for command in (("table", file), ("effects", file), ("plot", file, "-o", tmp_path / "a.png")):
        assert "there is no such file" in refused(*command, "--accuracy", tmp_path / "none.csv")
        ap = accuracy(tmp_path, "theta,AP\n5,38.5\n")
        assert "fits 2 cells, whose groups differ" in refused(*command, "--accuracy", ap)
    ap = accuracy(tmp_path, "theta,groups,Latency (ms, lower)\n5,1,3\n")
    assert "Latency is the name of a column of upbench's own" in refused("table", file, "--accuracy", ap)
    one, two = accuracy(tmp_path, "theta,groups,AP\n5,1,38\n"), accuracy(tmp_path, "theta,groups,AP\n5,1,39\n", "b.csv")
    said = refused("table", file, "--accuracy", one, "--accuracy", two)
    assert f"{one} and {two} both give AP of" in said


def test_what_lies_beside_the_results_is_shown_until_another_file_is_given(tmp_path: Path) -> None:
    file = ablation(tmp_path)
    rows_ = [{"theta": t, "groups": g, "AP": 38.0} for t in THETAS for g in GROUPS]
    beside.write(file, Sources((given.of_document(rows_, "sweep.yaml"),)))
    assert [row["AP_source"] for row in rows("table", file)] == ["sweep.yaml"] * 4
    ap = accuracy(tmp_path)
    assert [row["AP_source"] for row in rows("table", file, "--accuracy", ap)] == [str(ap)] * 4
    assert {r.accuracy["AP"].value for r in api.read(file) if r.accuracy} == {38.0}
    beside.write(file, Sources())
    assert not beside.path_of(file).exists()


def zoo(folder: Path) -> Path:
    path = folder / "zoo.jsonl"
    for n, name in enumerate(("carafe", "dysample", "ldaaqu")):
        store.append(path, record(name, {"upsampler": name}, cell=n, latency_s=0.001 * (n + 1)))
    return path


def test_published_accuracy_of_a_host_stands_apart_from_what_is_given(tmp_path: Path) -> None:
    file = zoo(tmp_path)
    ap = accuracy(tmp_path, "name,AP\nLDA-AQU,39.0\n")
    found = rows("table", file, "--accuracy", ap, "--with-published", "faster-rcnn-r50")
    assert [(row["AP"], row["AP_origin"]) for row in found] == [
        ("38.6", "published"),
        ("38.6", "published"),
        ("39.0", "given"),
    ]
    text = shown("table", file, "--accuracy", ap, "--with-published", "faster-rcnn-r50", "--columns", "given")
    assert "39.0 [b]" in text
    assert "[a] published (dysample Table 6), of the whole model." in text
    said = refused("table", file, "--with-published", "faster-rcnn")
    assert "did you mean 'faster-rcnn-r50'?" in said


def test_every_upsampler_that_papers_compare_in_a_host_is_known_by_its_settings() -> None:
    found = {(one["upsampler"], *one["params"].items()) for one in on_host.upsamplers("faster-rcnn-r50")}
    assert {
        ("carafe",),
        ("dysample",),
        ("dysample+",),
        ("sapa-d",),
        ("ldaaqu",),
        ("ldaaqu", ("reduction", 16)),
    } <= found
    assert ("fade",) not in found  # the same values are printed with gate=false, and copied without a word of it
    assert ("fade", ("gate", False)) in found


def test_a_comparison_measures_them_and_its_json_and_csv_carry_both(tmp_path: Path) -> None:
    ap = accuracy(tmp_path, "name,AP\nbilinear,37.0\nnone,1.0\n")
    command = ("compare", "bilinear", "--shape", "64x4x4", "--accuracy", ap, "--with-published", "bts-r50", "--exact")
    result = upbench(*command, "--format", "json")
    assert result.exit_code == 0, result.output
    assert f"{ap}: 1 row matches nothing that is measured: none" in result.stderr
    records = {r["label"]: r["accuracy"] for r in json.loads(result.stdout)["records"]}
    assert records["bilinear"]["AP"]["origin"] == "given"
    assert all(one["origin"] == "published" for one in records["nearest"].values())
    assert len(records) >= 4


def test_python_takes_rows_and_files(tmp_path: Path) -> None:
    records: list[Record] = list(api.read(zoo(tmp_path)))
    table = api.table(records, "AP,params", accuracy=[{"name": "carafe", "AP": 38.0}], with_published="faster-rcnn-r50")
    frame = table.to_dataframe()
    assert list(frame["AP"]) == [38.0, 38.6, 39.2]
    assert list(frame["AP_origin"]) == ["given", "published", "published"]
    path = accuracy(tmp_path, "name,AP\ncarafe,38.1\n")
    assert next(iter(api.table(records, "given", accuracy=path).to_dataframe()["AP"])) == 38.1
    both = api.compare("nearest", "bilinear", shape="8x4x4", timed=False, accuracy=[{"name": "nearest", "AP": 37.5}])
    assert both[0].accuracy is not None
    assert both[0].accuracy["AP"].value == 37.5
