"""The command line as it is used: exit code, the sentence on stderr, the file that was written."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pandas
import pytest
import yaml

from tests.command_line import refused, upbench
from upbench import files, registry
from upbench.records import store
from upbench.specs import run_spec as spec

FAST = ["--shape", "32x6x5", "--budget", "0.02", "--device", "cpu"]


def sweep_file(folder: Path, **changes: object) -> Path:
    data = {
        "name": "tiny",
        "title": "A tiny sweep",
        "base": {"upsampler": "ldaaqu"},
        "input": {"shape": "32x6x5"},
        "measure": {"budget": 0.02, "device": "cpu"},
        "grid": {"theta": [5, 11]},
        **changes,
    }
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump(data))
    return file


def test_list_names_every_upsampler() -> None:
    result = upbench("list", "--format", "json")
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert set(rows) == set(registry.names())
    assert rows["carafe"]["params"] == 74148
    assert rows["fade"]["guided"] is True
    assert "256x120x120" in upbench("list", "--shapes").stdout
    assert "ldaaqu" in upbench("list").stdout


@pytest.mark.parametrize("name", registry.names())
def test_what_show_prints_can_be_saved_and_loaded(name: str, tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    assert upbench("show", name, "--output", file).exit_code == 0
    assert spec.load(spec.read_yaml(file)) == spec.default(name)
    assert upbench("show", name, "--notes").exit_code == 0


@pytest.mark.parametrize(
    ("name", "settings", "params"),
    [
        ("ldaaqu", [], 39410),
        ("ldaaqu", ["reduction=16"], 10250),
        ("carafe", [], 74148),
        ("dysample", [], 8224),
        ("dysample+", [], 16416),
        ("dysample-s", [], 1040),
        ("dysample-s+", [], 2064),
        ("deconv", [], 590080),
        ("pixelshuffle", [], 2360320),
        ("indexnet", [], 2100224),
        ("indexnet", ["kind=o2o"], 19456),
        ("indexnet", ["kind=m2o"], 4458496),
        ("a2u", [], 10790),
        ("fade", [], 47514),
        ("fade", ["gate=false"], 47257),
        ("fade-lite", [], 13332),
        ("sapa-i", [], 0),
        ("sapa-b", [], 17472),
        ("sapa-b", ["norm=false"], 16448),
        ("sapa-d", [], 139808),
        ("sapa-d", ["dof=1"], 84296),
        ("resfu", [], 47570),
    ],
)
def test_parameters_are_those_of_the_released_modules(name: str, settings: list[str], params: int) -> None:
    options = [part for setting in settings for part in ("--set", setting)]
    result = upbench(
        "profile", name, "--shape", "256x3x2", "--budget", "0.01", "--device", "cpu", *options, "--format", "json"
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["params"] == params


@pytest.mark.parametrize(
    ("name", "conv", "gather"),
    [
        ("carafe", 73984, 25600),
        ("ldaaqu", 76544, 57600),
        ("dysample", 8192, 4096),
        ("deconv", 589824, 0),
        ("pixelshuffle", 2359296, 0),
    ],
)
def test_macs_per_low_resolution_pixel(name: str, conv: int, gather: int) -> None:
    result = upbench("profile", name, "--shape", "256x4x5", "--budget", "0.01", "--device", "cpu", "--format", "json")
    macs = json.loads(result.stdout)["macs"]
    assert (macs["conv"] / 20, macs["gather"] / 20) == (conv, gather)


@pytest.mark.parametrize("form", ["table", "markdown", "csv", "json"])
def test_profile_in_every_format(form: str, tmp_path: Path) -> None:
    result = upbench("profile", "dysample", *FAST, "--format", form)
    assert result.exit_code == 0
    assert "dysample" in result.stdout
    file = tmp_path / "out.txt"
    assert upbench("profile", "dysample", *FAST, "--format", form, "--output", file).stdout == ""
    assert "dysample" in file.read_text()


def test_profile_of_a_file_with_an_option_on_top(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(
        "upsampler: ldaaqu\nparams: {theta: 5}\ninput: {shape: 64x6x5}\nmeasure: {budget: 0.02, device: cpu}\n"
    )
    result = upbench("profile", file, "--batch", 2, "--set", "groups=4", "--format", "json")
    record = json.loads(result.stdout)["spec"]
    assert (record["params"]["theta"], record["params"]["groups"], record["input"]["batch"]) == (5, 4, 2)


def test_options_reach_the_spec() -> None:
    result = upbench(
        "profile",
        "bilinear",
        *FAST,
        "--scale",
        1.5,
        "--dtype",
        "float64",
        "--mode",
        "training",
        "--threads",
        1,
        "--seed",
        3,
        "--format",
        "json",
    )
    record = json.loads(result.stdout)
    assert record["spec"]["scale"] == 1.5
    assert record["spec"]["input"]["dtype"] == "float64"
    assert record["latency"]["mode"] == "training"
    assert record["environment"]["threads"] == 1
    assert record["spec"]["input"]["seed"] == 3


def test_compare_prints_ratios_to_the_reference() -> None:
    result = upbench("compare", "carafe", "dysample", "ldaaqu:reduction=8", *FAST, "--format", "json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["reference"] == "carafe"
    assert data["latency_ratios"][0]["value"] == 1
    assert [r["label"] for r in data["records"]] == ["carafe", "dysample", "ldaaqu (reduction=8)"]
    other = upbench("compare", "carafe", "dysample", "--reference", "dysample", *FAST, "--format", "csv").stdout
    frame = pandas.read_csv(__import__("io").StringIO(other))
    assert frame.loc[frame.upsampler == "dysample", "latency_ratio"].item() == 1
    assert frame.loc[frame.upsampler == "carafe", "latency_ratio"].item() != 1
    assert "1 (reference)" in upbench("compare", "carafe", "dysample", *FAST).stdout


def test_compare_sets_a_parameter_where_it_exists() -> None:
    arguments = ["compare", "carafe", "dysample", "ldaaqu", *FAST, "--format", "json", "--set"]
    data = json.loads(upbench(*arguments, "groups=4").stdout)
    assert [r["spec"]["params"]["groups"] for r in data["records"]] == [4, 4, 4]
    data = json.loads(upbench(*arguments, "ldaaqu.groups=4").stdout)
    assert [r["spec"]["params"]["groups"] for r in data["records"]] == [1, 4, 4]
    assert "none of carafe, dysample, ldaaqu has it" in refused(*arguments, "k_x=4")


def test_sweep_writes_records_and_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = sweep_file(tmp_path)
    result = upbench("sweep", file)
    assert result.exit_code == 0, result.output
    records = store.load(tmp_path / "results" / "tiny.jsonl").records
    assert [r.axes for r in records] == [{"theta": 5}, {"theta": 11}]
    markdown = (tmp_path / "results" / "tiny.md").read_text()
    assert "A tiny sweep" in markdown
    assert "| theta" in markdown
    frame = pandas.read_csv(tmp_path / "results" / "tiny.csv")
    assert list(frame["theta"]) == [5, 11]
    assert list(frame["macs_conv"]) == [records[0].macs.conv] * 2
    assert frame["latency_median_s"].min() > 0


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that measure nothing, where only the way of the records matters."""
    monkeypatch.setattr("upbench.sweeping.worker.MODULE", "tests.sweeping.fake_worker")


@pytest.mark.usefixtures("fake")
def test_sweep_does_not_measure_again_unless_fresh(tmp_path: Path) -> None:
    file, out = sweep_file(tmp_path), tmp_path / "r.jsonl"
    upbench("sweep", file, "--output", out)
    first = out.read_text()
    assert upbench("sweep", file, "--output", out).exit_code == 0
    assert out.read_text() == first
    wider = sweep_file(tmp_path, grid={"theta": [5, 7, 11]})
    assert upbench("sweep", wider, "--output", out).exit_code == 0
    assert out.read_text().startswith(first)
    assert len(store.load(out).records) == 3
    assert [row.split(",")[0] for row in (tmp_path / "r.csv").read_text().splitlines()] == ["theta", "5", "7", "11"]
    again = upbench("sweep", file, "--output", out, "--fresh")
    assert again.exit_code == 0
    assert f"upbench: --fresh: the results of before are in {tmp_path / 'r.1.jsonl'} now" in again.stderr
    assert (tmp_path / "r.1.jsonl").read_text().startswith(first)
    assert not out.read_text().startswith(first)
    assert len(store.load(out).records) == 3


@pytest.mark.usefixtures("fake")
def test_two_sweeps_do_not_write_one_file(tmp_path: Path) -> None:
    out = tmp_path / "r.jsonl"
    with files.locked(out):
        assert f"is being written by process {os.getpid()}" in refused("sweep", sweep_file(tmp_path), "--output", out)
    assert not out.exists()
    assert upbench("sweep", sweep_file(tmp_path), "--output", out).exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == {*("tiny.yaml", "r.jsonl", "r.passes.jsonl", "r.md", "r.csv")}


@pytest.mark.usefixtures("fake")
def test_a_dry_run_shows_every_cell_and_writes_nothing(tmp_path: Path) -> None:
    file = sweep_file(tmp_path, grid={"theta": [5, 11], "groups": [2, 5]})
    out = tmp_path / "results" / "r.jsonl"
    shown = upbench("sweep", file, "--output", out, "--dry-run")
    assert shown.exit_code == 0
    assert "2 of 4 cells to measure in at least " in shown.stdout
    assert shown.stdout.count("impossible: ") == 2
    assert not out.parent.exists()
    out.parent.mkdir()
    upbench("sweep", sweep_file(tmp_path, grid={"theta": [5], "groups": [2, 5]}), "--output", out)
    before = out.read_bytes()
    wider = sweep_file(tmp_path, grid={"theta": [5, 11], "groups": [2, 5]})
    states = json.loads(upbench("sweep", wider, "--output", out, "--dry-run", "--format", "json").stdout)
    assert {(cell["theta"], cell["groups"]): cell["state"].split(":")[0] for cell in states} == {
        (5, 2): "measured already",
        (5, 5): "impossible",
        (11, 2): "to measure",
        (11, 5): "impossible",
    }
    assert [cell["cell"] for cell in states] == [0, 1, 2, 3]
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--timeout", "0"], "--timeout is 0, but must be a number of seconds above 0"),
        (["--memory", "nan"], "--memory is nan, but must be a number of GiB above 0"),
        (
            ["--retry", "oom,timout"],
            "--retry timout: unknown status; did you mean 'timeout'? Known: error, oom, timeout, crashed, all",
        ),
        (["--retry", ","], "names no status"),
    ],
)
def test_bad_options_of_a_sweep_are_refused(tmp_path: Path, arguments: list[str], part: str) -> None:
    assert part in refused("sweep", sweep_file(tmp_path), *arguments)


def test_a_sweep_on_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "r.jsonl"
    file = sweep_file(tmp_path, measure={"device": "cuda:97"})
    assert "cuda:97 was asked for, but this machine has" in refused("sweep", file, "--output", out)
    assert not out.exists()


@pytest.mark.usefixtures("fake")
def test_the_results_file_is_not_one_of_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert upbench("sweep", sweep_file(tmp_path), "--output", tmp_path / "r.md").exit_code == 0
    assert "| theta" in (tmp_path / "r.md").read_text()
    assert len(store.load(tmp_path / "results" / "tiny.jsonl").records) == 2


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["profile", "ldaqu"], "did you mean 'ldaaqu'?"),
        (["show", "ldaqu"], "unknown upsampler 'ldaqu'; did you mean 'ldaaqu'? Known: nearest"),
        (["compare", "carafe", "caraffe"], "did you mean 'carafe'?"),
        (["profile", "carafe", "--shape", "256x120"], "is not CxHxW"),
        (["profile", "carafe", "--shape", "256xAx120"], "is not CxHxW"),
        (["profile", "carafe", "--set", "kup=5"], "did you mean 'k_up'?"),
        (["profile", "carafe", "--set", "k_up"], "is not KEY=VALUE"),
        (["profile", "carafe", "--set", "k_up=[1"], "is not a YAML value"),
        (["profile", "carafe", "--scale", "1.5"], "whole numbers only"),
        (["profile", "indexnet", "--scale", "3"], "defined for scale 2 only"),
        (["profile", "carafe", "--device", "cuda:97"], "cuda:97 was asked for, but this machine has"),
        (["profile", "carafe", "--device", "tpu"], "must be auto, cpu, cuda or cuda:N"),
        (["profile", "carafe", "--dtype", "int8"], "must be one of float32"),
        (["profile", "carafe", "--mode", "eval"], "must be one of inference, training"),
        (["profile", "carafe", "--budget", "0"], "above 0"),
        (["profile", "carafe", "--threads", "0"], "at least 1"),
        (["profile", "none.yaml"], "none.yaml: there is no such file"),
        (["sweep", "none.yaml"], "none.yaml: there is no such file"),
        (["show", "none.yaml"], "takes the name of an upsampler"),
        (
            ["compare", "carafe", "dysample", "--reference", "ldaaqu"],
            "unknown reference 'ldaaqu'; known: carafe, dysample",
        ),
        (["profile", "no.such.module:Thing"], "there is no no/such/module.py, and no folder no in"),
        (["profile", "tests.benchmark.test_run:Nothing"], "unknown class in tests.benchmark.test_run 'Nothing'"),
        (["profile", "tests.benchmark.test_run:tiny"], "is not a class derived from torch.nn.Module"),
        (["profile", "carafe", "--output", "/proc/nowhere/a"], "cannot be written"),
        (["profile", "carafe", "--output", "/"], "is a folder"),
        (["profile", "carafe", "--format", "xml"], "xml"),
        (["profile"], "Missing argument"),
        (["prifile"], "No such command"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(arguments: list[str], part: str) -> None:
    assert part in refused(*arguments)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("", "is empty"),
        ("upsampler: [", "is not valid YAML"),
        ("- a", "holds a list"),
        ("upsampler: carafe\nshap: 1\n", "shap: unknown key"),
        ("upsampler: carafe\nparams: 3\n", "params is 3, but must be a mapping"),
        ("name: a\nbase: {upsampler: ldaaqu}\ngrid: {theta: [5]}\n", "is a sweep; run it with"),
    ],
)
def test_bad_files_are_refused_in_a_sentence(tmp_path: Path, content: str, part: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(content)
    sentences = refused("profile", file, *FAST)
    assert part in sentences
    assert str(file) in sentences


def test_an_output_that_cannot_be_written_is_found_before_measuring(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("kept")
    assert "cannot be written" in refused("profile", "carafe", *FAST, "--output", blocked / "below")
    assert "cannot be written" in refused("sweep", sweep_file(tmp_path), "--output", blocked / "r.jsonl")
    assert blocked.read_text() == "kept"


@pytest.mark.usefixtures("fake")
def test_lines_that_are_no_records_are_named_skipped_and_kept(tmp_path: Path) -> None:
    file, out = sweep_file(tmp_path), tmp_path / "r.jsonl"
    upbench("sweep", file, "--output", out)
    first, second = out.read_text().splitlines()
    damaged = f"{first}\nhello\n{second[:-50]}"
    out.write_text(damaged)
    result = upbench("sweep", file, "--output", out)
    assert result.exit_code == 0
    assert "line 2, is torn (not a complete JSON record); the line is skipped, and stays in the file" in result.stderr
    assert "stays in the file; so is line 3\n" in result.stderr
    kept = out.read_text()
    assert kept.startswith(damaged + "\n")
    assert [r.axes for r in store.load(out).records] == [{"theta": 5}, {"theta": 11}]
    assert upbench("sweep", file, "--output", out).exit_code == 0
    assert out.read_text() == kept


def test_all_mistakes_of_several_upsamplers_are_said_together() -> None:
    sentences = refused("compare", "carafe:k_up=4", "ldaqu", "dysample:groups=3")
    assert len(sentences.strip().splitlines()) == 3


def test_progress_goes_to_stderr_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upbench.cli.progress.PATIENCE_S", 0.0)
    result = upbench("profile", "carafe", *FAST, "--format", "json")
    assert json.loads(result.stdout)["label"] == "carafe"
    assert "carafe: counting" in result.stderr


PLUGIN = '''
from torch import nn
from torch.nn.functional import interpolate


class Twice(nn.Module):
    """Bilinear, then a convolution."""

    def __init__(self, channels, scale, kernel: int = 3):
        super().__init__()
        self.scale = scale
        self.conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)

    def forward(self, x):
        return self.conv(interpolate(x, scale_factor=self.scale, mode="bilinear"))


class Guided(nn.Module):
    guided = True
    scales = "2"

    def __init__(self, channels, guide_channels, scale):
        super().__init__()
        self.project = nn.Conv2d(guide_channels, channels, 1)

    def forward(self, x, guide):
        return interpolate(x, scale_factor=2.0) + self.project(guide)


class Other(nn.Module):
    def __init__(self, width):
        super().__init__()

    def forward(self, x):
        return x
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of the user's own in the current folder."""
    (tmp_path / "my_upsampler.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_upsampler", raising=False)
    return tmp_path


@pytest.mark.usefixtures("plugin")
def test_an_upsampler_of_ones_own_behaves_like_a_built_in_one() -> None:
    result = upbench("compare", "my_upsampler:Twice:kernel=5", "carafe", *FAST, "--format", "json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)["records"][0]
    assert record["params"] == 32 * 32 * 25 + 32
    assert record["macs"]["conv"] == 32 * 32 * 25 * 12 * 10
    assert record["macs"]["gather"] == 4 * 32 * 12 * 10
    assert "kernel: 3" in upbench("show", "my_upsampler:Twice").stdout
    assert "did you mean 'kernel'?" in refused("profile", "my_upsampler:Twice", "--set", "kernl=3")
    assert "defined for scale 2 only" in refused("profile", "my_upsampler:Guided", "--scale", 3)
    assert upbench("profile", "my_upsampler:Guided", *FAST).exit_code == 0
    assert "must take (channels, scale, ...)" in refused("profile", "my_upsampler:Other")


def test_entry_points_are_registered(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = plugin / "mine-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[upbench.upsamplers]\ntwice = my_upsampler:Twice\n")
    monkeypatch.syspath_prepend(str(plugin))
    registry.plugins.cache_clear()
    try:
        assert "twice" in registry.names()
        assert "from my_upsampler:Twice" in upbench("list").stdout
        result = upbench("profile", "twice", "--set", "kernel=1", *FAST, "--format", "json")
        assert json.loads(result.stdout)["params"] == 32 * 32 + 32
        assert "did you mean 'twice'?" in refused("profile", "twic")
        (folder / "entry_points.txt").write_text("[upbench.upsamplers]\ncarafe = my_upsampler:Twice\n")
        registry.plugins.cache_clear()
        assert "two upsamplers claim the name 'carafe'" in refused("list")
    finally:
        monkeypatch.undo()
        registry.plugins.cache_clear()


def test_the_page_of_differences_is_up_to_date() -> None:
    page = Path(registry.__file__).parent / "papers" / "differences.md"
    assert upbench("list", "--notes").stdout == page.read_text(), "write it anew: upbench list --notes > " + str(page)
