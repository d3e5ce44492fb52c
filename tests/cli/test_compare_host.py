"""`upbench compare --host` and `upbench list --hosts`, as they are used."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import yaml

from tests.command_line import refused, upbench
from upbench import papers
from upbench.benchmark import measurement

FAST = ["--budget", "0.001", "--device", "cpu"]
SMALL = ["--host", "faster-rcnn-r50", "--input", "40x70", *FAST]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured does not matter here, only that it is."""
    monkeypatch.setattr(measurement, "AA_S", 0.001)


def printed(*arguments: object) -> str:
    result = upbench(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def host_file(folder: Path, **changes: object) -> Path:
    stage = {"name": "only", "channels": 16, "height": 3, "width": 4}
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump({"stages": [stage], **changes}))
    return file


def test_lda_aqu_star_adds_41_000_parameters_to_faster_rcnn() -> None:
    """One module of 10,250 for each of four stages, whatever the input; next to the base, with its share."""
    text = printed("compare", "ldaaqu:reduction=16", "nearest", *SMALL, "--format", "csv")
    first, second = csv.DictReader(io.StringIO(text))
    assert first["params"] == "41000"
    assert first["base_params"] == "46836640"
    assert float(first["params_of_base"]) == 41_000 / 46_836_640
    assert (first["host"], first["host_input"], first["stage_name"]) == ("faster-rcnn-r50", "40x70", "")
    assert (second["params"], second["verdict"] != "") == ("0", True)
    assert first["base_flops"] == first["flops_of_base"] == ""


def test_every_stage_is_a_row_with_stages() -> None:
    text = printed("compare", "dysample", "carafe", *SMALL, "--stages", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["stage_name"] for row in rows] == 2 * ["", "p6_to_p5", "p5_to_p4", "p4_to_p3", "p3_to_p2"]
    for total, *stages in (rows[:5], rows[5:]):
        assert int(total["params"]) == sum(int(row["params"]) for row in stages)
        assert int(total["flops"]) == sum(int(row["flops"]) for row in stages)
        assert all(float(row["latency_median_s"]) > 0 for row in rows)
    assert rows[1]["latency_ratio"] == rows[0]["latency_ratio"] == "1.0"


def test_the_table_says_input_stages_and_base() -> None:
    text = printed("compare", "dysample", "bilinear", *SMALL, "-v")
    assert "faster-rcnn-r50: 4 stages, input 40x70 (height x width), padded to 64x96" in text
    assert "p6_to_p5 256x1x2 to 2x3; p5_to_p4 256x2x3 to 4x6" in text
    assert "46.84M parameters (printed 46.8M;" in text
    assert "+0.07 %" in text
    assert "the output of each kept until the last has run" in text
    base = next(line for line in text.splitlines() if line.startswith(" base"))
    assert base.split()[1] == "46836640"


def test_json_holds_the_host_the_totals_and_the_stages(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    host = host_file(tmp_path, base={"params": 1000, "flops": 10_000})
    printed("compare", "deconv", "--host", host, "--batch", 2, *FAST, "--format", "json", "--output", file)
    found = json.loads(file.read_text())
    (total,), (stages,) = found["records"], found["stages"]
    assert found["host"]["base"]["params"]["counted"] == 1000
    assert total["spec"]["host"]["stages"][0]["out_height"] == 6
    assert total["spec"]["input"]["batch"] == 2
    assert total["macs"]["conv"] == stages[0]["macs"]["conv"] == 2 * 3 * 4 * 9 * 16 * 16
    assert stages[0]["spec"]["input"] == {**stages[0]["spec"]["input"], "shape": "16x3x4", "batch": 2}
    assert total["latency"]["samples_s"]
    assert stages[0]["latency"] is None


def test_a_spec_files_own_shape_gives_way_and_that_is_said(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(upbench("show", "ldaaqu").stdout)
    result = upbench("compare", spec, "--set", "groups=1", "--host", host_file(tmp_path), *FAST, "--format", "json")
    assert result.exit_code == 0, result.output
    assert "give way to the stages of mine" in result.stderr
    (record,) = json.loads(result.stdout)["records"]
    assert record["label"] == "ldaaqu (groups=1)"


def test_an_upsampler_that_cannot_be_a_stage_is_refused_before_anything_runs(tmp_path: Path) -> None:
    text = refused("compare", "a2u", "dysample", "--host", "upernet-r50/fuse", *FAST)
    assert text.splitlines() == [
        "upbench: scale is 8, but a2u is defined for scale 2 only (a2u in stage fuse_p5 of upernet-r50/fuse)",
        "upbench: scale is 4, but a2u is defined for scale 2 only (a2u in stage fuse_p4 of upernet-r50/fuse)",
    ]
    text = refused("compare", "ldaaqu:groups=3", "nope", "--host", host_file(tmp_path), *FAST)
    assert "params.groups is 3, which does not divide" in text
    assert "(ldaaqu in stage only of mine)" in text
    assert text.count("unknown upsampler 'nope'") == 1
    assert "nope in" not in text
    assert "768" in refused("compare", "sapa-i", "--host", "depthformer-swint", *FAST)


def test_options_that_make_no_sense_with_a_host_are_refused() -> None:
    text = refused("compare", "dysample", "--host", "segformer-b1", "--shape", "fpn-p3", "--scale", "2")
    assert text.splitlines() == [
        f"upbench: --{option}: cannot be given with --host, whose stages have their own; leave it out"
        for option in ("shape", "scale")
    ]
    text = refused("compare", "dysample", "--input", "64x64", "--stages")
    assert "--input: needs --host" in text
    assert "--stages: needs --host" in text
    for size in ("100", "0x5", "axb"):
        assert "is not HEIGHTxWIDTH" in refused("compare", "dysample", "--host", "segformer-b1", "--input", size)
    assert "did you mean 'segformer-b1'?" in refused("compare", "dysample", "--host", "segformer-b2")
    assert "unknown reference 'x'" in refused("compare", "dysample", "--host", "segformer-b1", "--reference", "x")


def test_list_hosts() -> None:
    rows = json.loads(printed("list", "--hosts", "--format", "json"))
    assert [row["name"] for row in rows] == list(papers.hosts())
    assert rows[0]["low_resolution_pixels"] == 21_260
    assert rows[0]["stages"].startswith("256x20x13 to 40x25, ")
    text = printed("list", "--hosts")
    assert "faster-rcnn-r101, mask-rcnn-r101" in text
    assert "46.84M" in text
    assert "--shapes and --hosts are 2 lists" in refused("list", "--shapes", "--hosts")


def test_no_speed_is_reported_where_a_stage_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "wrong_up.py").write_text(
        "import torch\n"
        "class Up(torch.nn.Module):\n"
        "    def __init__(self, channels, scale):\n"
        "        super().__init__()\n"
        "        self.channels = channels\n"
        "    def forward(self, x):\n"
        "        y = torch.nn.functional.interpolate(x, scale_factor=2)\n"
        "        return y * float('nan') if self.channels == 8 else y\n"
    )
    stages = [{"name": "good", "channels": 16, "height": 3, "width": 4}]
    stages += [{"name": "bad", "channels": 8, "height": 3, "width": 4}]
    host = host_file(tmp_path, stages=stages)
    done = upbench("compare", "bilinear", "wrong_up:Up", "--host", host, *FAST)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "FAILED check finite: wrong_up:Up in stage bad of mine: 384 of 384" in done.stderr
    assert "in stage good" not in done.stderr
    data = json.loads(upbench("compare", "bilinear", "wrong_up:Up", "--host", host, *FAST, "--format", "json").stdout)
    assert data["records"] == data["stages"] == []
    assert [c["stage"] for c in data["checks"] if not c["passed"]] == ["bad"]


def test_fused_backends_are_checked_in_every_stage() -> None:
    data = json.loads(printed("compare", "dysample", *SMALL, "--backend", "fused", "--format", "json"))
    checked = {(c["stage"], c["name"]) for c in data["checks"]}
    for stage in ("p6_to_p5", "p5_to_p4", "p4_to_p3", "p3_to_p2"):
        assert {(stage, "backend forward"), (stage, "backend backward")} <= checked


def test_nothing_is_said_of_a_base_that_was_not_given(tmp_path: Path) -> None:
    assert "base" not in printed("compare", "bilinear", "--host", host_file(tmp_path), "-v", *FAST).split("Stages (")[1]
