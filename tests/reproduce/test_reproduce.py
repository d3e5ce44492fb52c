"""`upbench reproduce` as a user runs it."""

from __future__ import annotations

import json
import re
import shlex
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from upbench.cli.app import app
from upbench.records.origin import Environment, InputData, RunSpecData


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["reproduce", *map(str, arguments)])


def rows(*arguments: object) -> list[dict]:
    done = run(*arguments, "--format", "json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_list_names_every_table_with_what_can_be_counted() -> None:
    listed = {r["table"]: r for r in rows("--list")}
    assert listed["lda-aqu/table1"]["params"] == listed["lda-aqu/table1"]["flops"] == 10
    assert listed["lda-aqu/table5"]["params"] == 0
    assert "lda-aqu/table1" in run("--list").stdout


def test_a_table_has_the_papers_rows_and_columns_with_ours_beside_them() -> None:
    done = run("lda-aqu/table1", "--format", "markdown")
    assert done.exit_code == 0
    lines = [[c.strip() for c in line.split("|")[1:-1]] for line in done.stdout.splitlines() if line.startswith("|")]
    head, by_name = lines[0], {line[1]: line for line in lines[2:]}
    assert head == [
        "#",
        "Upsampler",
        "AP",
        "AP50",
        "AP75",
        "AP_S",
        "AP_M",
        "AP_L",
        "Params",
        "ours",
        "verdict",
        "FLOPs",
        "ours",
        "verdict",
    ]
    assert by_name["LDA-AQU*"][2] == "38.9"
    assert by_name["LDA-AQU*"][8:11] == ["+41.0K", "41.00K", "with count P2 instead of P0"]
    assert by_name["CARAFE"][11:] == ["+1.6G", "1.58G", "as stated (F1)"]
    assert by_name["Nearest"][8:] == ["46.8M", "-", "base", "208.5G", "-", "base"]


def test_a_bogus_figure_in_a_copy_of_a_table_is_not_reproduced(tmp_path: Path) -> None:
    text = files("upbench.papers").joinpath("published/lda-aqu/table1.yaml").read_text()
    bogus = text.replace("{printed: +41.0K, delta: 41000,", "{printed: +43.7K, delta: 43700,")
    assert bogus != text
    copy = tmp_path / "copy.yaml"
    copy.write_text(bogus)
    before = {(r["label"], r["quantity"]): r for r in rows("lda-aqu/table1")}
    after = {(r["label"], r["quantity"]): r for r in rows(copy)}
    key = ("LDA-AQU*", "params")
    assert before[key]["verdict"] == "with a departure"
    assert after[key]["verdict"] == "not reproduced"
    assert after[key]["command"] is None
    assert {k: r["verdict"] for k, r in before.items() if k != key} == {
        k: r["verdict"] for k, r in after.items() if k != key
    }


@pytest.mark.parametrize("table", ["lda-aqu/table1", "sapa/table3", "fade/readme"])
def test_every_printed_command_gives_the_sum_beside_it(table: str) -> None:
    for found in rows(table):
        if found["verdict"] == "not reproduced":
            continue
        program, name, *arguments = shlex.split(found["command"])
        assert (program, name) == ("upbench", "reproduce")
        terms = rows(*arguments)
        assert sum(t["count"] for t in terms) == found["ours"], found["command"]
        if found["verdict"] != "only by odd rounding":
            assert 2 * abs(found["ours"] - found["published"]) <= found["step"]


def test_a_row_without_a_convention_counts_as_its_column_does_among_all_tables() -> None:
    """Table 8 alone fits P2 as often as P0; the paper's other tables decide."""
    assert "Sum: 24576; printed: +24.6K" in run("dysample/table8", "--row", "DySample").stdout


def test_a_row_is_printed_term_by_term() -> None:
    done = run("lda-aqu/table1", "--row", "lda-aqu*", "--convention", "p2")
    assert done.exit_code == 0
    assert len(re.findall(r"p\d_to_p\d .* 10,250", done.stdout)) == 4
    assert "Sum: 41000; printed: +41.0K, known to half of 100: which rounds to nearest as printed." in done.stdout
    other = run("lda-aqu/table1", "--row", "LDA-AQU*", "--convention", "P2", "--set", "reduction=4")
    assert "Sum: 157640" in other.stdout
    assert "which is not the printed figure" in other.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("lda-aqu/table11",), "did you mean 'lda-aqu/table1'"),
        (("lda-aqu/table1", "--row", "CARAF"), "did you mean 'CARAFE'"),
        (
            ("dysample/table6", "--row", "DySample+"),
            "several rows are labelled 'DySample+'; give the number of one: 12, 14",
        ),
        (("lda-aqu/table1", "--row", "FADE", "--convention", "F9"), "unknown convention 'F9'"),
        (("lda-aqu/table1", "--row", "FADE", "--set", "gat=true"), "did you mean 'gate'"),
        (("lda-aqu/table1", "--row", "FADE", "--set", "gate=maybe"), "params.gate is 'maybe'"),
        (("lda-aqu/table1", "--row", "FADE", "--way", "per-output-pixel"), "unknown way of counting of fade"),
        (("lda-aqu/table1", "--row", "FADE", "--version", "raw-a2u"), "unknown version of fade"),
        (("lda-aqu/table1", "--row", "FADE", "--host", "faster-rcnn"), "did you mean 'faster-rcnn-r50'"),
        (("dysample/table6", "--row", "FADE", "--convention", "F3"), "prints no figure that F3 counts"),
        (("--convention", "F3"), "give --row as well"),
        (("--row", "FADE"), "--row needs one"),
        (("lda-aqu/table1", "--list"), "--list takes no table"),
        (("lda-aqu",), "'lda-aqu' is a paper, not a table; its tables: lda-aqu/readme, lda-aqu/table1"),
        (("sapa/table13", "--row", "SAPA-D"), "sapa/table13 prints no figure that can be counted again"),
        (("lda-aqu/table1", "--row", "FADE", "--records", "x.jsonl"), "--records is about latencies"),
        (("--list", "--records", "x.jsonl"), "--records is about latencies"),
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def without_latency(page: str) -> str:
    """The page but for the section that shows measured records, where there are some."""
    return page[: page.index("## Latency")] + page[page.index("## Not judged") :]


def test_the_page_has_every_figure_and_only_commands_that_can_be_read(tmp_path: Path) -> None:
    target = tmp_path / "published.md"
    assert run("--format", "markdown", "--output", target).exit_code == 0
    page = target.read_text()
    committed = Path(__file__).parents[2] / "results" / "published.md"
    again = "make it again: upbench reproduce --format markdown > results/published.md"
    assert without_latency(page) == without_latency(committed.read_text()), again
    assert page.startswith("# Published complexity figures")
    for head in ("What the verdicts mean", "Not reproduced", "Tables that count in more than one way", "Every figure"):
        assert f"\n## {head}\n" in page
    total = re.search(r"(\d+) printed figures in \d+ tables, (\d+) of them distinct", page)
    assert total is not None
    every = page[page.index("## Every figure") : page.index("## Latency")]
    assert len(re.findall(r"^\| .*\| (?:Parameters|FLOPs) ", every, re.M)) == int(total[1])
    assert not re.search(r"\{\w+\}|None", page)


def test_what_is_noted_of_rows_stands_beside_them(tmp_path: Path) -> None:
    done = run("lda-aqu/table1", "--format", "markdown")
    assert 'DySample, ResNet-50: printed "DySample"; values and params are those of DySample+' in done.stdout
    assert (
        "LA-AQU (no deformation) has no row in any table." in run("lda-aqu/text", "--format", "markdown", "-v").stdout
    )
    text = files("upbench.papers").joinpath("published/lda-aqu/table1.yaml").read_text()
    copy = tmp_path / "copy.yaml"
    copy.write_text(text.replace("host: faster-rcnn-r50", "host: my-host"))
    assert "Not judged: the stages of the host my-host are not known." in run(copy, "--format", "markdown").stdout


def test_tables_without_figures_are_data_too() -> None:
    assert [r["accuracy"]["AP"] for r in rows("lda-aqu/table5")] == [38.7, 39.0, 39.1, 39.2, 39.0]
    fig8 = {r["upsampler"]: r for r in rows("dysample/fig8")}
    assert fig8["dysample"]["ratio_low"] == pytest.approx(6.2 / 1.6)
    total = next(r for r in rows("sapa/table1") if (r["label"], r["step"], r["metric"]) == ("FADE", "Total", "params"))
    assert total["value"] == total["ours"] == 47_168
    assert "$2Cd + 9K^2d$" in run("sapa/table1", "--format", "markdown").stdout


def test_latencies_are_ratios_and_a_dash_where_nothing_was_measured() -> None:
    done = run("sapa/table13", "-v")
    assert done.exit_code == 0
    line = next(x for x in done.stdout.splitlines() if "points 9, groups 4" in x)
    assert line.split()[-3:] == ["25.6", "1.00x", "-"]
    assert "upbench sweep sweeps/papers-latency.yaml" in done.stdout


def test_measured_latencies_are_laid_beside_as_ratios_of_one_device(tmp_path: Path) -> None:
    from upbench.papers import published
    from upbench.report.reproduce import latency
    from upbench.reproduce.hypotheses import hypotheses

    def record(
        upsampler: str, params: dict, seconds: float, dtype: str = "float32", threads: int = 1
    ) -> SimpleNamespace:
        spec = RunSpecData(
            upsampler=upsampler, params=params, scale=2, input=InputData(shape="256x120x120", dtype=dtype)
        )
        taken = SimpleNamespace(mode="inference", samples_s=[seconds] * 5, passes=None, samples_of_pass=None)
        environment = Environment(device="d", torch="t", threads=threads)
        return SimpleNamespace(settings=spec, latency=taken, status="ok", environment=environment)

    records = [
        record("sapa-b", {"k_up": 5}, 0.2),
        record("sapa-b", {"k_up": 5}, 0.001, dtype="bfloat16"),
        record("sapa-b", {"k_up": 5, "embedding": 64}, 0.002),  # another SAPA-B
        record("sapa-d", {"points": 9, "groups": 2}, 0.1),
        record("sapa-d", {"points": 9, "groups": 4}, 0.1, threads=2),  # no SAPA-B was measured with two
    ]
    sheet = latency.latency_table(published.table("sapa/table13"), records, hypotheses())  # type: ignore[arg-type]
    ours = {(row[0], row[1]): row[-1] for row in sheet.rows}
    assert ours["SAPA-D", "points 9, groups 2"] == "0.50x"
    assert ours["SAPA-D", "points 9, groups 4"] == "-"
    assert ours["SAPA-B", "points 25, groups 1"] == "1.00x"
    assert ours["SAPA-B", "points 25, groups 4"] == "-"  # our SAPA-B has one group
    assert "upbench does not build SAPA-B (points 25, groups 4)." in sheet.notes
    published_ratio = {(row[0], row[1]): row[3] for row in sheet.rows}
    assert published_ratio["CARAFE", "points 25, groups 1"] == "0.45x"
    assert any("float32" in note and "1 thread," in note for note in sheet.notes)
    assert not any("bfloat16" in note or "2 threads" in note for note in sheet.notes)
    missing = run("sapa/table13", "--records", tmp_path / "none.jsonl")
    assert missing.exit_code == 2
    assert "is not there" in missing.stderr
    (tmp_path / "empty.jsonl").write_text("")
    assert "has no records" in run("sapa/table13", "--records", tmp_path / "empty.jsonl").stderr
