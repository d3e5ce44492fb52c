"""One comparison is of one work: what is left open is taken over, what differs is refused, or grouped."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from typer.testing import Result

from tests.command_line import upbench
from upbench.benchmark import measurement, run
from upbench.errors import SpecError
from upbench.specs import run_spec as spec

FAST = ["--budget", "0.02", "--device", "cpu", "--threads", "1"]
MODULE = """
from torch import nn
import torch.nn.functional as F

class Up(nn.Module):
    def __init__(self, channels, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return F.interpolate(x, scale_factor=self.scale)
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurement, "AA_S", 0.05)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def write(name: str, upsampler: str = "nearest", **data: object) -> str:
    Path(name).write_text(yaml.safe_dump({"upsampler": upsampler, **data}))
    return name


def works(result: Result) -> list[tuple[str, str, int, float]]:
    assert result.exit_code == 0, result.output
    return [
        (r["spec"]["upsampler"], r["spec"]["input"]["shape"], r["spec"]["input"]["batch"], r["spec"]["scale"])
        for r in json.loads(result.stdout)["records"]
    ]


def test_a_name_takes_shape_batch_scale_and_dtype_of_the_first_spec_that_has_them() -> None:
    b = write("b.yaml", scale=3, input={"shape": "8x6x5", "dtype": "float64"})
    c = write("c.yaml", "bicubic", input={"batch": 2})
    result = upbench("compare", "bilinear", b, c, *FAST, "--exact", "--format", "json")
    assert works(result) == [(name, "8x6x5", 2, 3) for name in ("bilinear", "nearest", "bicubic")]
    assert {r["spec"]["input"]["dtype"] for r in json.loads(result.stdout)["records"]} == {"float64"}
    given = upbench("compare", "bilinear", b, "--shape", "4x3x3", *FAST, "--exact", "--format", "json")
    assert [work[1] for work in works(given)] == ["4x3x3", "4x3x3"]


@pytest.mark.parametrize(
    ("first", "second", "told", "flags"),
    [
        ({"input": {"shape": "8x6x5"}}, {"input": {"shape": "8x6x6"}}, ["8x6x5", "8x6x6"], "--shape"),
        ({"input": {"shape": "8x6x5"}}, {"input": {"shape": "4x6x5"}}, ["8x6x5", "4x6x5"], "--shape"),
        ({"input": {"batch": 1}}, {"input": {"batch": 2}}, ["batch 1", "batch 2"], "--batch"),
        ({"scale": 2}, {"scale": 3}, ["scale 2", "scale 3"], "--scale"),
        (
            {"scale": 2, "input": {"shape": "8x6x5"}},
            {"scale": 3, "input": {"shape": "paper"}},
            ["shape 8x6x5, scale 2", "shape 256x120x120, scale 3"],
            "--shape and --scale",
        ),
    ],
)
def test_two_works_in_one_comparison_are_refused_with_both_named(
    first: dict[str, object], second: dict[str, object], told: Sequence[str], flags: str
) -> None:
    a, b = write("a.yaml", **first), write("b.yaml", "bilinear", **second)
    for more in ([], ["--exact"], ["--max", f"latency=3x:{b}"], ["--against", "HEAD"]):
        result = upbench("compare", a, b, *FAST, *more)
        assert result.exit_code == 2
        assert all(part in result.stderr for part in ("a.yaml", "b.yaml", *told, flags, "--per-shape"))
        assert len(result.stderr.splitlines()) == 1
        assert result.stdout == ""
    with pytest.raises(SpecError, match="a comparison is of one work"):
        run.compare([spec.load(spec.read_yaml(Path(file)), file) for file in (a, b)])


def test_dtypes_and_backends_are_compared_as_before() -> None:
    a = write("a.yaml", input={"shape": "8x6x5", "dtype": "float32"})
    b = write("b.yaml", input={"shape": "8x6x5", "dtype": "float64"})
    assert upbench("compare", a, b, *FAST, "--exact").exit_code == 0
    both = upbench("compare", "dysample", "--shape", "8x6x5", "--backend", "eager,fused", *FAST, "--exact")
    assert both.exit_code == 0


def test_like_gives_its_shape_and_is_refused_with_another(tmp_path: Path) -> None:
    (tmp_path / "my_like.py").write_text(MODULE)
    like = write("like.yaml", scale=3, input={"shape": "8x6x5"})
    taken = upbench("compare", "my_like:Up", "--like", like, *FAST, "--exact", "--format", "json")
    assert works(taken) == [("my_like:Up", "8x6x5", 1, 3)]
    assert "like nearest [eager]" in [check["name"] for check in json.loads(taken.stdout)["checks"]]
    other = upbench("compare", "my_like:Up", "--shape", "8x4x4", "--scale", "3", "--like", like, *FAST)
    assert other.exit_code == 2
    assert "--like like.yaml has shape 8x6x5, but my_like:Up has shape 8x4x4" in other.stderr


def test_a_baseline_gives_its_shape_and_is_refused_with_another() -> None:
    saved = upbench("compare", "nearest", "--shape", "8x6x5", "--batch", "2", *FAST, "--exact", "--save", "b.json")
    assert saved.exit_code == 0
    same = upbench("compare", "nearest", *FAST, "--exact", "--baseline", "b.json", "--strict", "--format", "json")
    assert works(same) == [("nearest", "8x6x5", 2, 2)]
    for more in (["--shape", "8x6x6"], ["--scale", "3"]):
        other = upbench("compare", "nearest", *more, *FAST, "--exact", "--baseline", "b.json")
        assert other.exit_code == 2
        assert "baseline b.json has" in other.stderr
        assert "but this comparison has" in other.stderr
        assert more[1] in other.stderr


def test_diff_refuses_files_without_a_common_work() -> None:
    for name, shape in (("a", "8x6x5"), ("b", "8x6x6")):
        found = upbench("compare", "nearest", "--shape", shape, *FAST, "--exact", "--save", f"{name}.json")
        assert found.exit_code == 0
    result = upbench("diff", "a.json", "b.json")
    assert result.exit_code == 2
    assert "a.json has shape 8x6x5, but b.json has shape 8x6x6" in result.stderr
    assert upbench("diff", "a.json", "a.json").exit_code == 0


def test_per_shape_measures_each_work_by_itself() -> None:
    a = write("a.yaml", input={"shape": "8x6x5"})
    b = write("b.yaml", "bicubic", input={"shape": "8x6x6"})
    command = ["compare", a, "bilinear", b, *FAST, "--per-shape"]
    document = upbench(*command, "--format", "json")
    assert [(name, shape) for name, shape, _, _ in works(document)] == [
        ("nearest", "8x6x5"), ("bilinear", "8x6x5"), ("bilinear", "8x6x6"), ("bicubic", "8x6x6"),
    ]  # fmt: skip
    data = json.loads(document.stdout)
    assert [(g["shape"], g["reference"], g["records"]) for g in data["groups"]] == [
        ("8x6x5", "nearest", 2), ("8x6x6", "bilinear", 2),
    ]  # fmt: skip
    assert data["reference"] is None
    assert data["latency_ratios"][0]["value"] == data["latency_ratios"][2]["value"] == 1
    assert len({r["comparison"] for r in data["records"]}) == 2, "no ratio between the groups"

    shown = upbench(*command)
    assert shown.stdout.count("1 (reference)") == 2
    rows = list(csv.DictReader(io.StringIO(upbench(*command, "--format", "csv").stdout)))
    assert [(row["upsampler"], row["shape"]) for row in rows] == [(n, s) for n, s, _, _ in works(document)]


def test_per_shape_refuses_a_ratio_between_two_works() -> None:
    a = write("a.yaml", input={"shape": "8x6x5"})
    b = write("b.yaml", "bilinear", input={"shape": "8x6x6"})
    bound = upbench("compare", a, b, *FAST, "--per-shape", "--max", "params=1x:bilinear")
    assert bound.exit_code == 2
    assert "the reference 'bilinear' is not measured at 8x6x5, batch 1, x2" in bound.stderr
    reference = upbench("compare", a, b, *FAST, "--per-shape", "--reference", "nearest")
    assert reference.exit_code == 2
    assert "unknown reference at 8x6x6, batch 1, x2 'nearest'" in reference.stderr
    saved = upbench("compare", a, b, *FAST, "--per-shape", "--save", "b.json")
    assert saved.exit_code == 2
    assert "--save is of one shape" in saved.stderr

    both = upbench("compare", a, "bilinear", write("c.yaml", "bicubic", input={"shape": "8x6x6"}), *FAST, "--per-shape",
                   "--exact", "--max", "op_count=1x:bilinear", "--max", "macs=0")  # fmt: skip
    assert both.exit_code == 1
    assert "bicubic at 8x6x6, batch 1, x2, max macs" in both.stderr
