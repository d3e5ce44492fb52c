"""What hands get used to: patterns of names, order, what fits, files by their ending, few notes, sums of a host, layers."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from torch import nn, rand

import upbench as package
from tests import record_builder
from tests.command_line import refused, upbench
from upbench.cli import help_page
from upbench.cli.app import app
from upbench.cli.upsampler_patterns import expand
from upbench.report.formats.table import MORE
from upbench.report.tables import comparison

FAST = ["--shape", "32x6x5", "--budget", "0.01", "--device", "cpu", "--threads", "1"]


def labels(*arguments: object) -> list[str]:
    """The upsamplers of a comparison, in the order of the rows."""
    result = upbench("compare", *arguments, *FAST, "--exact", "--format", "csv")
    assert result.exit_code == 0, result.output
    return [row["label"] for row in csv.DictReader(io.StringIO(result.stdout))]


def test_a_pattern_stands_for_the_names_that_it_matches() -> None:
    assert labels("dysample*", "carafe") == ["dysample", "dysample+", "dysample-s", "dysample-s+", "carafe"]
    assert labels("carafe", "sapa-[ib]:k_up=3") == ["carafe", "sapa-i (k_up=3)", "sapa-b (k_up=3)"]
    assert expand(["dysample-s", "dysample*"])[0] == ["dysample-s", "dysample", "dysample+", "dysample-s+"]
    assert expand(["carafe", "carafe"])[0] == ["carafe", "carafe"]
    assert "zzz*: matches no upsampler; known: nearest" in refused("compare", "zzz*")


def test_all_leaves_out_what_is_impossible_and_says_so() -> None:
    result = upbench("compare", "all", *FAST, "--scale", 3, "--exact", "--format", "json")
    assert result.exit_code == 0, result.output
    measured = {record["spec"]["upsampler"] for record in json.loads(result.stdout)["records"]}
    assert {"bilinear", "carafe", "dysample", "ldaaqu"} <= measured
    assert {"fade", "indexnet", "jbu-stack", "lift"}.isdisjoint(measured)
    assert "left out of the pattern: " in result.stderr
    assert "fade (scale is 3" in result.stderr
    refused("compare", "fade", "carafe", *FAST, "--scale", 3)


def test_rows_are_sorted_by_a_quantity_the_best_first() -> None:
    names = ["carafe", "dysample", "bilinear"]
    assert labels(*names, "--sort", "params") == ["bilinear", "dysample", "carafe"]
    assert labels(*names, "--sort", "-params") == ["carafe", "dysample", "bilinear"]
    assert "did you mean 'latency'?" in refused("compare", *names, "--sort", "latncy")


def test_what_fits_is_said_in_a_table_and_fails_nothing(tmp_path: Path) -> None:
    printed = upbench(
        "compare", "carafe", "dysample", "bilinear", *FAST, "--exact", "--fit", "params=2k,macs=4x:bilinear"
    )
    assert printed.exit_code == 0
    assert printed.stdout.startswith("2 of 3 fit params=2k,macs=4x:bilinear: dysample, bilinear.")
    assert "no: params, macs" in printed.stdout
    file = record_builder.file(tmp_path / "r.jsonl", record_builder.theta_sweep())
    found = upbench("table", file, "--fit", "latency=11.5ms", "--sort", "-latency", "--format", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(found)))
    assert [(row["theta"], row["fits"]) for row in rows] == [
        ("7", "yes"), ("5", "yes"), ("13", "no"), ("11", "no"), ("9", "no"),
    ]  # fmt: skip
    assert "has no bound" in refused("table", file, "--fit", ",")
    assert "--fit speed=3" in refused("compare", "bilinear", *FAST, "--fit", "speed=3")
    assert "'bilinear' is not among the compared upsamplers" in refused("table", file, "--fit", "latency=2x:bilinear")


def test_json_has_the_order_and_what_fits() -> None:
    names = ["carafe", "dysample", "bilinear"]
    bounds = ["--fit", "params=2k,macs=4x:bilinear", "--sort", "-params"]
    printed = upbench("compare", *names, *FAST, "--exact", *bounds, "--format", "json", "--reference", "dysample")
    document = json.loads(printed.stdout)
    assert [record["label"] for record in document["records"]] == ["dysample", "bilinear", "carafe"]
    assert [fit["fits"] for fit in document["fits"]] == ["yes", "yes", "no"]
    assert document["fits"][2]["because"] == ["params", "macs"]
    assert document["verdicts"] == [None] * 3
    assert document["reference"] == "dysample"
    assert json.loads(upbench("compare", *names, *FAST, "--exact", "--format", "json").stdout)["fits"] is None
    timed = json.loads(upbench("compare", *names, *FAST, "--sort", "-params", "--format", "json").stdout)
    (own,) = [r for r, verdict in zip(timed["records"], timed["verdicts"], strict=True) if verdict is None]
    assert own["label"] == "carafe"
    assert timed["latency_ratios"][0]["value"] == 1


def test_groups_of_columns_and_single_ones(tmp_path: Path) -> None:
    file = record_builder.file(tmp_path / "r.jsonl", record_builder.theta_sweep())

    def heads(columns: str) -> list[str]:
        text = upbench("table", file, "--columns", columns, "--format", "markdown").stdout
        line = next(line for line in text.splitlines() if line.startswith("|"))
        return [cell.strip() for cell in line.strip("|").split("|")]

    assert heads("paper") == ["theta", "Params", "FLOPs", "Latency", "Memory"]
    assert heads("flops") == ["theta", "FLOPs", "conv", "gather", "norm", "elementw."]
    assert heads("memory") == ["theta", "Peak fwd", "Peak fwd+bwd", "Saved", "Workspace"]
    assert {"Min", "p5", "p95", "p99", "Pixels/s"} <= set(heads("time"))
    assert set(heads("flops") + heads("memory") + heads("time")) <= set(heads("all"))
    rows = list(csv.DictReader(io.StringIO(upbench("table", file, "--columns", "time", "--format", "csv").stdout)))
    for row in rows:
        seconds = {name: float(row[f"latency_{name}_s"]) for name in ("min", "p5", "median", "p95")}
        assert row["latency_p99_s"] == "", "40 samples say nothing of one in a hundred"
        assert list(seconds.values()) == sorted(seconds.values())
        assert float(row["throughput_pixels_per_s"]) == pytest.approx(240 * 240 / seconds["median"])


def test_notes_are_three_lines_unless_all_or_none_are_wanted(tmp_path: Path) -> None:
    file = record_builder.file(tmp_path / "r.jsonl", record_builder.theta_sweep())

    def notes(*more: str) -> list[str]:
        text = upbench("table", file, *more, env={"COLUMNS": "80"}).stdout
        lines = text.rstrip().splitlines()
        at = max(n for n, line in enumerate(lines) if line.startswith(" ") or not line)
        return lines[at + 1 :]

    brief = [line for line in notes() if not line.startswith(("[", "table", "here"))]
    assert MORE in brief[-1]
    # A noise floor of two digits, on a busy machine, takes more than 80 columns.
    told = upbench("compare", "carafe", "bilinear", *FAST, env={"COLUMNS": "90"}).stdout.rstrip().split("\n\n")[-1]
    told = re.sub(
        r"^The machine was busy[^.]*(\.\d[^.]*)*\.\n", "", told
    )  # it stands above the three lines, on one or two
    assert len(told.splitlines()) <= 3, told
    assert len(notes("-v")) > len(notes())
    assert "torch allocator events" in upbench("compare", "carafe", *FAST, "--exact", "-v").stdout
    quiet = upbench("compare", "carafe", "bilinear", *FAST, "--exact", "--quiet").stdout
    assert quiet.rstrip().splitlines()[-1].startswith(" bilinear")


@pytest.mark.parametrize(("spread", "busy"), [(0.02, False), (0.5, True)])
def test_a_profile_on_a_busy_machine_says_so_under_the_table(spread: float, busy: bool) -> None:
    """Nothing is compared with itself there; what tells is that samples of one call are far apart."""
    samples = record_builder.samples(0.01, spread=spread)
    record = record_builder.record(latency_s=samples, noise_floor=None, sweep=False)
    brief = comparison.profile_table(record).brief or []
    assert brief[0].startswith("The machine was busy: half of the samples spread over ") == busy
    assert ("try --threads 1" in brief[0]) == busy


def test_the_sentence_above_a_comparison_says_who_is_how_much_faster() -> None:
    arguments = ["--shape", "256x16x16", "--budget", "0.1", "--device", "cpu", "--threads", "1"]
    first = " ".join(upbench("compare", "pixelshuffle", "nearest", *arguments).stdout.split("\nshape ")[0].split())
    assert first.startswith("nearest ")
    assert "pixelshuffle" in first
    assert " to " in first
    assert first.endswith(".")


def test_a_result_goes_to_several_files_each_in_the_format_of_its_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    record_builder.file(tmp_path / "r.jsonl", record_builder.theta_sweep())
    marks = {
        "a.md": "| theta",
        "a.csv": "theta,",
        "a.tex": "\\begin{tabular}",
        "a.html": "<table",
        "a.json": "{",
        "a.txt": " theta",
    }
    files = [part for name in marks for part in ("-o", name)]
    for command in (["table", "r.jsonl"], ["table", "r.jsonl"]):
        done = upbench(*command, *files)
        assert (done.exit_code, done.stdout) == (0, ""), done.output
        for name, mark in marks.items():
            assert mark in Path(name).read_text()
    assert upbench("table", "r.jsonl", "-o", "b.txt", "--format", "csv").exit_code == 0
    assert Path("b.txt").read_text().startswith("theta,")
    assert "--format csv: a.md ends otherwise" in refused(
        "table", "r.jsonl", "-o", "a.md", "-o", "a.csv", "--format", "csv"
    )
    assert "is given twice with --output" in refused("table", "r.jsonl", "-o", "a.md", "-o", "./a.md")
    assert upbench("plot", "r.jsonl", "-o", "p.png", "-o", "p.svg").exit_code == 0
    assert Path("p.svg").read_text().startswith("<?xml")
    assert upbench("show", "carafe", "-o", "s.yaml", "-o", "s.json").exit_code == 0
    assert json.loads(Path("s.json").read_text())["upsampler"] == "carafe"
    assert upbench("list", "-o", "l.md", "-o", "l.csv").exit_code == 0


def test_markdown_of_others_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    record_builder.file(tmp_path / "r.jsonl", record_builder.theta_sweep())
    for text in ("# My project\n\nProse.\n", "**A title**\n\nProse.\n", "Just prose.\n", "- a\n- b\n"):
        Path("README.md").write_text(text)
        said = refused("table", "r.jsonl", "-o", "README.md")
        assert "holds Markdown that upbench did not write, or that was edited" in said
        assert "give --overwrite" in said
        assert Path("README.md").read_text() == text
    assert upbench("table", "r.jsonl", "-o", "README.md", "--overwrite").exit_code == 0
    assert upbench("table", "r.jsonl", "-o", "README.md", "-v").exit_code == 0
    Path("README.md").write_text(f"{Path('README.md').read_text()}\nMy own words.\n")
    assert "was edited" in refused("table", "r.jsonl", "-o", "README.md")
    fast = [*FAST, "--exact"]
    for command in (
        ["list"],
        ["list", "--notes"],
        ["list", "--metrics"],
        ["compare", "carafe", "bilinear", *fast],
        ["env"],
    ):
        for _ in range(2):
            done = upbench(*command, "-o", "own.md")
            assert done.exit_code == 0, done.output
        Path("own.md").unlink()


@pytest.mark.parametrize("page", ["--notes", "--metrics"])
def test_a_page_of_prose_is_markdown_alone(page: str, tmp_path: Path) -> None:
    assert "there is no latex of it; leave --format out" in refused("list", page, "--format", "latex")
    assert "there is no csv of it" in refused("list", page, "-o", tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()
    assert upbench("list", page, "--format", "markdown").stdout == upbench("list", page).stdout


def test_what_is_exported_gives_no_advice(tmp_path: Path) -> None:
    loud = record_builder.record("carafe").model_copy(
        update={
            "warnings": ["the machine is noisy (IQR above 10 % of the median); close other programs or raise --budget"]
        }
    )
    file = record_builder.file(tmp_path / "r.jsonl", [loud])
    for form in ("markdown", "latex", "html"):
        text = upbench("table", file, "--format", form, "-v").stdout
        assert "the machine is noisy (IQR above 10" in text
        assert "close other programs" not in text
        assert MORE not in upbench("table", file, "--format", form).stdout
    assert "close other programs" in upbench("table", file, "-v").stdout


def test_a_host_is_counted_without_timing_and_summed_as_papers_do() -> None:
    host = ["--host", "faster-rcnn-r50", "--threads", "1", "--device", "cpu"]
    result = upbench("compare", "dysample", "nearest", *host, "--input", "64x64", "--exact")
    assert result.exit_code == 0, result.output
    assert "46.84M + 0.03M = 46.87M" in result.stdout
    assert "Latency" not in result.stdout
    data = json.loads(upbench("compare", "bilinear", *host, "--input", "64x64", "--exact", "--format", "json").stdout)
    assert data["records"][0]["latency"] is None
    assert data["latency_ratios"] == [None]
    assert {one["name"] for one in data["checks"]} == {"shape", "finite", "repeat"}, "its one form is eager"
    data = json.loads(upbench("compare", "carafe", *host, "--input", "64x64", "--exact", "--format", "json").stdout)
    assert {one["name"] for one in data["checks"]} == {"shape", "finite", "repeat", "backend forward"}
    assert "leave out --host, or the gate options" in refused(
        "compare", "dysample", *host, "--exact", "--max", "params=1k"
    )


class Two(nn.Module):
    """Two layers, one of them in a block, and a product of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.ReLU())
        self.head = nn.Conv2d(8, 2, 1, bias=False)

    def forward(self, x):
        return self.head(self.body(x)) * 2


def test_layers_of_a_module_add_up_to_what_its_profile_says() -> None:
    x = rand(1, 4, 6, 5)
    frame = package.layers(Two(), x).to_dataframe().set_index("path")
    assert list(frame.index) == [".", "body", "body.0", "body.1", "head"]
    assert frame["macs"].to_dict() == {
        ".": 30 * (4 * 8 * 9 + 8 + 16 + 2), "body": 30 * (4 * 8 * 9 + 8), "body.0": 30 * 4 * 8 * 9, "body.1": 240, "head": 480,
    }  # fmt: skip
    assert frame["params"].to_dict() == {".": 4 * 8 * 9 + 8 + 16, "body": 296, "body.0": 296, "body.1": 0, "head": 16}
    assert frame["output_shapes"]["body"] == [[1, 8, 6, 5]]
    assert package.profile(Two(), x, budget=0.01).macs.total == frame["macs"]["."]
    with pytest.raises(package.UpbenchError, match="Two cannot be called"):
        package.layers(Two(), rand(1, 3, 6, 5))


@pytest.mark.parametrize("name", ["ldaaqu", "carafe", "fade", "sapa-d"])
def test_layers_of_an_upsampler_add_up_to_its_macs(name: str) -> None:
    fast = ["--shape", "32x6x5", "--device", "cpu", "--format", "json"]
    rows = json.loads(upbench("profile", name, *fast, "--layers").stdout)
    (record,) = json.loads(upbench("compare", name, *fast, "--exact", "--backend", "eager").stdout)["records"]
    assert (rows[0]["path"], rows[0]["macs"], rows[0]["params"]) == (".", record["macs"]["total"], record["params"])
    assert rows[0]["output_shapes"] == [[1, 32, 12, 10]]
    inside = sum(row["macs"] or 0 for row in rows if row["path"] != "." and "." not in row["path"])
    assert 0 < inside <= rows[0]["macs"]
    assert "two tables" in refused("profile", name, "--layers", "--by-op")


@pytest.mark.parametrize("command", list(help_page.EXAMPLES))
def test_help_has_panels_and_examples_that_can_be_run(command: str) -> None:
    import shlex

    from typer.main import get_command

    page = upbench(command, "--help").stdout
    assert page.rstrip().splitlines()[-1].startswith("      ")
    assert "Output:" in page
    assert "Options:" not in page
    whole = get_command(app)
    for line, _ in help_page.EXAMPLES[command]:
        assert line in page
        program, name, *arguments = shlex.split(line)
        assert (program, name) == ("upbench", command)
        one = whole.commands[name]
        one.make_context(name, arguments, resilient_parsing=False)


def test_every_command_has_examples() -> None:
    assert {info.name for info in app.registered_commands} == set(help_page.EXAMPLES)


def test_a_shape_on_the_command_line_brings_its_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, guide in (("fade", 32), ("jafar", 3)):
        Path("spec.yaml").write_text(upbench("show", name).stdout)
        assert package.spec("spec.yaml", shape="32x6x5").guide_channels == guide
        Path("spec.yaml").write_text(Path("spec.yaml").read_text().replace("# channels: 256", "channels: 256"))
        edited = upbench("compare", "spec.yaml", *FAST, "--exact", "--format", "json")
        assert json.loads(edited.stdout)["records"][0]["spec"]["channels"] == 32
        assert "spec.yaml: channels give way to those of --shape 32x6x5" in edited.stderr
    Path("both.yaml").write_text("{upsampler: fade, channels: 256, guide_channels: 256, input: {shape: 256x9x9}}")
    assert package.spec("both.yaml", shape="32x6x5").guide_channels == 32
    assert package.spec("both.yaml", shape="32x6x5", guide_channels=256, gate=False).guide_channels == 256
