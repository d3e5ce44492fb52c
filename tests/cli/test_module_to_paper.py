"""From an empty folder with one module to what a paper needs, in ten commands, as a new user would type them."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.command_line import upbench

MODULE = '''"""An upsampler of one's own: the pixels around a point, weighted by a small convolution."""

import torch
from torch import nn
from torch.nn import functional as F


class Up(nn.Module):
    """Content-aware: kernel x kernel weights for each output pixel, one set for each group of channels."""

    def __init__(self, channels, scale=2, kernel=3, groups=1):
        super().__init__()
        self.scale, self.kernel, self.groups = scale, kernel, groups
        self.weights = nn.Conv2d(channels, groups * kernel * kernel * scale * scale, 1)

    def forward(self, x):
        batch, channels, height, width = x.shape
        s, k, g = self.scale, self.kernel, self.groups
        weights = F.pixel_shuffle(self.weights(x), s)
        weights = weights.view(batch, g, 1, k * k, height * s, width * s).softmax(3)
        windows = F.unfold(x, k, padding=k // 2).view(batch, channels * k * k, height, width)
        windows = F.interpolate(windows, scale_factor=s).view(batch, g, channels // g, k * k, height * s, width * s)
        return (windows * weights).sum(3).view(batch, channels, height * s, width * s)
'''
ABLATION = """name: ablation
base: {upsampler: "paper_up:Up", scale: 2}
input: {shape: 32x6x5}
measure: {threads: 1, budget: 0.02}
grid: {kernel: [1, 3], groups: [1, 2]}
accuracy: ablation.csv
"""
RUNS = "kernel,groups,seed,AP\n1,1,0,37.9\n1,1,1,38.1\n3,1,0,38.9\n3,1,1,39.1\n1,2,0,38.0\n1,2,1,38.2\n3,2,0,39.3\n3,2,1,39.5\n"
PAGE = (
    "\\documentclass[twocolumn]{{article}}\\usepackage{{booktabs,tablefootnote}}\\begin{{document}}{}\\end{{document}}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder after all commands; what they print stands in files beside what they write."""
    place = tmp_path_factory.mktemp("paper")
    (place / "paper_up.py").write_text(MODULE)
    (place / "ap.csv").write_text("name,AP\nUp,39.0\n")
    (place / "ablation.csv").write_text(RUNS)
    (place / "ablation.yaml").write_text(ABLATION)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.syspath_prepend(str(place))
        patch.setenv("COLUMNS", "120")
        assert len(COMMANDS) <= 10
        for name, command in COMMANDS.items():
            result = upbench(*command.split())
            assert result.exit_code == 0, f"{command}\n{result.output}"
            # The spec is edited as a user would: a small map, so that the test is quick.
            (place / name).write_text(result.stdout.replace("256x120x120", "32x6x5"))
            assert "Traceback" not in result.stderr
    return place


COMMANDS = {
    "up.yaml": "show paper_up:Up",
    "profile.txt": "profile up.yaml --threads 1 --budget 0.02",
    "compare.txt": "compare up.yaml carafe --threads 1 --budget 0.02 --accuracy ap.csv --format csv",
    "sweep.txt": "sweep ablation.yaml",
    "effects.txt": "effects results/ablation.jsonl --metrics AP,params --part effects --format csv",
    "table.tex": "table results/ablation.jsonl --columns AP,params,latency --base kernel=3,groups=1 --format latex",
    "zoo.json": "compare up.yaml --accuracy ap.csv --with-published faster-rcnn-r50 --exact --format json",
    "figure.txt": "plot zoo.json --x macs --title Upsamplers -o figure.svg",
    "front.txt": "plot results/ablation.jsonl --kind pareto --x params --y AP -o front.png",
    "stdout.txt": "compare up.yaml fade carafe --host faster-rcnn-r50 --input 64x64 --threads 1 --exact -o host.txt -o host.csv",
}
"""File -> the command whose stdout it holds."""


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def test_the_module_is_short_and_profiled_and_compared_with_its_accuracy(folder: Path) -> None:
    assert len(MODULE.split('"""', 2)[2].strip().splitlines()) <= 25
    assert "upsampler: paper_up:Up" in (folder / "up.yaml").read_text()
    assert re.search(r"Parameters\s+1188\b", (folder / "profile.txt").read_text())
    own, carafe = rows(folder / "compare.txt")
    assert (own["AP"], own["AP_origin"], carafe["AP"]) == ("39.0", "given", "")
    assert float(carafe["latency_ratio"]) > 0


def test_the_ablation_has_accuracy_with_its_deviation_and_effects(folder: Path) -> None:
    table = (folder / "results" / "ablation.md").read_text()
    assert "AP (given)" in table
    assert "39.4 +- 0.1" in table
    found = {
        (r["axis"], r["level"]): float(r["difference"]) for r in rows(folder / "effects.txt") if r["metric"] == "AP"
    }
    assert found[("groups", "2")] == pytest.approx(0.25) or found[("groups", "1")] == pytest.approx(-0.25)
    assert {axis for axis, _ in found} == {"kernel", "groups"}
    (kernel,) = [r for r in rows(folder / "effects.txt") if (r["metric"], r["axis"]) == ("AP", "kernel")]
    # Means of two runs each with a deviation of 0.1414: a standard error of 0.1, and Student's t of 4 degrees of freedom.
    assert abs(float(kernel["difference"])) == pytest.approx(1.15)
    assert float(kernel["difference_low"]) == pytest.approx(float(kernel["difference"]) - 0.2776, abs=1e-4)
    assert float(kernel["difference_high"]) == pytest.approx(float(kernel["difference"]) + 0.2776, abs=1e-4)


def test_the_latex_table_has_differences_to_the_base_row(folder: Path) -> None:
    text = (folder / "table.tex").read_text()
    assert "\\begin{tabular}" in text
    assert "+0.4" in text
    assert "given" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex on this machine")
def test_the_latex_table_fits_a_column(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "page.tex").write_text(PAGE.format((folder / "table.tex").read_text()))
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "page.tex"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout
    assert "Overfull" not in done.stdout


def test_the_figure_holds_the_own_method_among_published_ones(folder: Path) -> None:
    records = json.loads((folder / "zoo.json").read_text())["records"]
    origins = {r["label"]: r["accuracy"]["AP"]["origin"] for r in records}
    assert origins["paper_up:Up"] == "given"
    assert {origins[name] for name in ("carafe", "dysample", "sapa-b")} == {"published"}
    text = (folder / "figure.svg").read_text()
    for part in ("paper_up:Up", "carafe", "dysample", "own method", "AP, not measured here"):
        assert part in text
    assert (folder / "front.png").read_bytes().startswith(b"\x89PNG")


def test_the_cost_in_a_detector_is_the_sum_that_papers_print(folder: Path) -> None:
    text = (folder / "host.txt").read_text()
    own, _, carafe = rows(folder / "host.csv")
    assert int(own["params"]) == 4 * (256 * 36 + 36)
    assert float(own["params_of_base"]) == pytest.approx(int(own["params"]) / int(own["base_params"]))
    assert int(carafe["params"]) == 4 * 74_148
    for sums in ("46.84M + 0.04M = 46.87M", "46.84M + 0.19M = 47.03M", "46.84M + 0.30M = 47.13M"):
        assert sums in text
    assert "Latency" not in text
