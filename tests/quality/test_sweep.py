"""`quality:` in a sweep: cost, proxy quality and given accuracy in one table, each marked; pictures take it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.command_line import refused, upbench

SWEEP = """
name: made
base: {{upsampler: carafe}}
input: {{shape: 32x4x4}}
measure: {{budget: 0.01, device: cpu}}
grid: {{k_up: [3, 5]}}
accuracy: [{{k_up: 3, AP: 38.1}}, {{k_up: 5, AP: 38.4}}]
quality: {{steps: 3, size: 32, batch: 2, pictures: [16, 8], device: cpu{more}}}
"""


def written(folder: Path, more: str = "") -> Path:
    file = folder / "made.yaml"
    file.write_text(SWEEP.format(more=more))
    return file


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPBENCH_WARMUP", "0.01")
        patch.setenv("UPBENCH_CALIBRATE", "off")
        patch.setenv("UPBENCH_IN_PROCESS", "1")
        done = upbench("sweep", written(folder), "-o", folder / "made.jsonl")
    assert done.exit_code == 0, done.output
    return folder / "made.jsonl"


def test_a_table_has_cost_proxy_and_accuracy_each_marked(results: Path) -> None:
    text = upbench("table", results, "-v", env={"COLUMNS": "200"}).stdout
    head = next(line for line in text.splitlines() if "proxy mIoU" in line)
    assert "AP (given)" in head
    assert "proxy BIoU" in head
    assert "Params" in head
    assert "proxy mIoU (" not in head
    said = " ".join(text.split())
    assert "of a tiny network trained here, of no model" in said
    assert "carafe (k_up=3): " in said
    assert "to bilinear, resolution" in said
    assert "EARLY LEARNING" in said


def test_the_rows_stand_beside_the_results(results: Path) -> None:
    rows = [json.loads(line) for line in results.with_suffix(".quality.jsonl").read_text().splitlines()]
    assert len(rows) == 6 * 4  # bilinear twice, and both cells
    assert {row["params"].get("k_up") for row in rows} == {None, 3, 5}
    found = list(csv.DictReader(io.StringIO(upbench("table", results, "--format", "csv").stdout)))
    scores = [row["scores"]["miou"] for row in rows if row["params"].get("k_up") == 3 and row["status"] == "ok"]
    row = next(row for row in found if row["k_up"] == "3")
    assert float(row["proxy mIoU"]) == pytest.approx(sum(scores) / len(scores))
    assert (row["proxy mIoU_origin"], row["proxy mIoU_runs"]) == ("proxy", str(len(scores)))
    assert row["AP_origin"] == "given"


@pytest.mark.parametrize("kind", ["pareto", "bubble"])
def test_pictures_take_it_for_an_axis(results: Path, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    path = tmp_path / f"{kind}.svg"
    done = upbench("plot", results, "--kind", kind, "--x", "macs", "--y", "proxy mIoU", "-o", path)
    assert done.exit_code == 0, done.output
    assert "proxy mIoU" in path.read_text()


def test_a_dry_run_has_its_cost(results: Path) -> None:
    done = upbench("sweep", results.with_suffix(".yaml"), "-o", results, "--dry-run", "-v")
    assert done.exit_code == 0, done.output
    assert "Quality: 0 of 24 runs" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (", seeds: 7", "seeds is 7, but must be 6 or 12, fixed beforehand"),
        (", step: 7", "step: unknown key"),
        (", reference: bilinea", "did you mean 'bilinear'?"),
        (", data: 3", "data is 3, but must be scenes, or the path of a folder"),
        (", folder: d", "made.yaml: quality.folder: write data: d, which names the folder"),
        (", task: x", "made.yaml: quality: unknown task 'x'"),
        (", reference: convex", "is guided by a state of the size of its input"),
    ],
)
def test_its_mistakes_are_refused_before_anything_is_measured(tmp_path: Path, more: str, sentence: str) -> None:
    assert sentence in refused("sweep", written(tmp_path, more), "-o", tmp_path / "made.jsonl")
    assert not (tmp_path / "made.jsonl").exists()
