"""Columns of a table of records: which there are, by which names, under which heads, and which axes name its rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import upbench as api
from tests import record_builder
from tests.command_line import refused, upbench
from upbench.report.tables import comparison


@pytest.fixture
def results(tmp_path: Path) -> Path:
    cells = [
        record_builder.record(
            axes={"theta": t, "groups": g}, cell=n, theta=t, groups=g, params=1000 * t + g, latency_s=0.01 + 0.002 * n
        )
        for n, (t, g) in enumerate((t, g) for t in (5, 11) for g in (1, 2, 4))
    ]
    return record_builder.file(tmp_path / "r.jsonl", cells)


HEADS = "latency=Time & cost,theta=$k_{1,2}$"
"""Two heads: one with a sign of LaTeX in it, one with a comma in a formula."""


@pytest.mark.parametrize(
    ("form", "heads"),
    [
        ("table", ["$k_{1,2}$  groups  Params  Time & cost"]),
        ("markdown", ["| $k_{1,2}$", "Time & cost |"]),
        ("html", ['<th scope="col">$k_{1,2}$</th>', "Time &amp; cost</th>"]),
        ("latex", [r"$k_{1,2}$ & groups & Params & \shortstack[r]{Time \\ \& cost}"]),
        ("json", ['"Time & cost": "best"', '"latency_median_s"']),
        ("csv", ["theta,groups,params,latency_median_s"]),
    ],
)
def test_heads_are_those_that_were_given_in_every_format(results: Path, form: str, heads: list[str]) -> None:
    text = upbench("table", results, "--columns", "params,latency", "--heads", HEADS, "--format", form).stdout
    assert all(head in text for head in heads), text


def test_python_takes_heads_too(results: Path) -> None:
    made = api.table(api.read(results), columns="params,latency", heads={"latency": "Time", "theta": "$k$"})
    assert r"$k$ & groups & Params & Time" in made.to_latex()


def test_the_values_of_an_axis_stand_in_the_formula_of_its_head(results: Path) -> None:
    asked = ("table", results, "--columns", "latency", "--across", "groups", "--format", "latex")
    text = upbench(*asked, "--heads", "groups=$g_1$,latency=Time").stdout
    assert r"theta & $g_1=1$ & $g_1=2$ & $g_1=4$" in text
    assert r"\multicolumn{3}{c}{Time}" in text
    assert "Groups=1 & Groups=2" in upbench(*asked, "--heads", "groups=Groups").stdout


def test_heads_of_what_is_no_column_are_refused_with_what_there_is(results: Path) -> None:
    said = refused("table", results, "--heads", "latancy=Time,kernel,groups=$g")
    assert "--heads latancy: unknown column; known: params, " in said
    assert "theta, groups; did you mean 'latency'?" in said
    assert "--heads 'kernel' is not NAME=TEXT" in said
    assert "its braces or dollars do not match" in said


def test_heads_are_judged_before_anything_is_measured(tmp_path: Path) -> None:
    assert "--heads lat: unknown column" in refused("compare", "nearest", "bilinear", "--heads", "lat=Time")
    file = tmp_path / "s.yaml"
    file.write_text("{name: s, base: {upsampler: carafe}, grid: {k_up: [3, 5]}}")
    assert "--heads kup: unknown column" in refused("sweep", file, "--heads", "kup=$k$")
    assert "unknown column 'kup'" in refused("sweep", file, "--columns", "kup")


def test_a_comparison_has_the_heads_that_were_given(small: tuple[str, ...]) -> None:
    asked = (
        "compare",
        "nearest",
        "bilinear",
        *small,
        "--columns",
        "params,latency",
        "--heads",
        "latency=Time,label=Name",
    )
    text = upbench(*asked, "--format", "latex").stdout
    assert "Name & Params & Time" in text


@pytest.fixture
def small() -> tuple[str, ...]:
    return ("--shape", "16x8x8", "--budget", "0.02", "--threads", "1", "--quiet")


def test_names_match_as_they_are_written(results: Path) -> None:
    said = refused("table", results, "--columns", "params,Time")
    assert "unknown column 'Time': the group of columns is 'time'" in said
    assert "--heads latency=Time" in said
    said = refused("table", results, "--columns", "FLOPs")
    assert said.strip().endswith(
        "unknown column 'FLOPs': the column headed FLOPs is 'macs'; 'flops' is a group of columns"
    )
    for head, name in {
        "Memory": "peak-memory",
        "Peak fwd": "peak-memory",
        "Effic.": "efficiency",
        "Ratio": "ratio",
    }.items():
        assert f"the column headed {head} is '{name}'" in refused("table", results, "--columns", f"params,{head}")
    assert "--heads FLOPs (F3): unknown column; the column headed FLOPs is 'macs'" in refused(
        *("table", results, "--heads", "FLOPs (F3)=MACs")
    )
    assert "the column headed Latency is 'latency'" in refused("table", results, "--columns", "Latency")
    rows = json.loads(upbench("table", results, "--columns", "flops", "--format", "json").stdout)["tables"][0]
    assert "flops" in rows["rows"][0]


@pytest.mark.parametrize("form", ["latex", "html", "markdown"])
def test_a_document_says_what_is_marked_and_can_do_without(results: Path, form: str) -> None:
    asked = ("table", results, "--columns", "params,latency", "--format", form)
    text = upbench(*asked).stdout
    said = "second best underlined, each with what is equal to it or, of times, not told from it."
    assert said in text
    assert text.count(said) == upbench(*asked, "-v").stdout.count(said) == 1
    assert said not in upbench(*asked, "--notes", "none").stdout
    plain = upbench(*asked, "--marks", "none", "-v").stdout
    assert not any(mark in plain for mark in (said, "\\textbf", "\\underline", "<b>", "<u>", "| **"))
    assert "--marks bold: unknown marks 'bold'; known: best, none" in refused(*asked, "--marks", "bold")


def test_footnotes_of_latex_begin_with_a_capital(results: Path) -> None:
    text = upbench("table", results, "--columns", "latency", "--across", "groups", "--format", "latex").stdout
    assert "Shown: Latency. Shape 256x120x120, x2" in text


def test_axes_may_be_named_and_stand_in_that_order(results: Path) -> None:
    def first(*asked: str) -> str:
        return upbench("table", results, "--format", "csv", *asked).stdout.splitlines()[0]

    assert first("--columns", "groups,theta,params").startswith("groups,theta,params,")
    assert first("--columns", "params,groups,theta").startswith("groups,theta,params,")
    assert first("--columns", "params").startswith("theta,groups,params,")
    assert first("--columns", "theta,latency", "--across", "groups").startswith("theta,latency_median_s groups=1,")


def test_an_axis_without_which_rows_look_alike_is_not_left_out(results: Path, tmp_path: Path) -> None:
    said = refused("table", results, "--columns", "theta,params")
    assert "--columns leaves out groups, without which 3 rows look alike; write --columns theta,groups,..." in said
    cells = [record_builder.record(axes={"theta": t, "groups": 2}, cell=t, theta=t, groups=2) for t in (5, 11)]
    one = record_builder.file(tmp_path / "one.jsonl", cells)
    text = upbench("table", one, "--columns", "theta,params", "--format", "csv").stdout
    assert text.startswith("theta,params,"), "one value needs no column"


@pytest.mark.parametrize(("n", "known"), [(6, []), (19, []), (20, ["p5", "p95"]), (100, ["p5", "p95", "p99"])])
def test_a_percentile_of_few_samples_is_a_dash_and_says_how_many_it_takes(
    tmp_path: Path, n: int, known: list[str]
) -> None:
    samples = [0.01 + 1e-5 * k for k in range(n)]
    record = record_builder.record(latency_s=samples, sweep=False)
    file = record_builder.file(tmp_path / "r.jsonl", [record])
    columns = "latency-min,latency-p5,latency-p95,latency-p99"
    for notes in ("brief", "all"):
        text = " ".join(upbench("table", file, "--columns", columns, "--notes", notes).stdout.split())
        for name, least in (("p5", 20), ("p95", 20), ("p99", 100)):
            assert (f"{name} takes {least}" in text.casefold()) == (name not in known)
        assert "10.0 ms" in text, "the least sample is known of any"
    table = comparison.profile_table(record)
    rows = {row[0]: row[1] for row in table.rows}
    for title, name, least in (("95th", "p95", 20), ("99th", "p99", 100)):
        assert (rows[f"Latency, {title} percentile"] == f"- (takes {least} samples)") == (name not in known)
