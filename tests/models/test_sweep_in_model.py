"""A sweep with a model: parameters of upsamplers inside it, its records, table, resuming, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.command_line import refused
from tests.command_line import upbench as run
from upbench import registry

MODEL = {"name": "tests.models.hosts:segmenter", "input": "64x48"}


def write(folder: Path, **more: Any) -> Path:
    data = {
        "name": "groups",
        "base": {"upsampler": "dysample"},
        "model": MODEL,
        "measure": {"budget": 0.02, "threads": 1},
        "grid": {"groups": [1, 3, 4]},
    }
    file = folder / "groups.yaml"
    file.write_text(yaml.safe_dump({key: value for key, value in {**data, **more}.items() if value is not None}))
    return file


def test_a_parameter_is_swept_inside_a_model_and_resumed(tmp_path: Path) -> None:
    file, results = write(tmp_path), tmp_path / "groups.jsonl"
    done = run("sweep", file, "-o", results)
    assert done.exit_code == 1, done.output  # one cell cannot be built: 3 does not divide 16
    assert "All of tests.models.hosts:segmenter at 64x48" in done.stdout
    records = [json.loads(line) for line in results.read_text().splitlines()]
    by_groups = {record["axes"]["groups"]: record for record in records}
    assert by_groups[3]["status"] == "error"
    assert "which does not divide channels (16)" in by_groups[3]["error"]
    for record in records:
        assert record["spec"]["model"] == MODEL
        assert set(record["spec"]) == {"upsampler", "params", "input", "measure", "model"}
    card = registry.get("dysample")
    settings = {n: registry.setting_of(card, 16, None, 2, {"groups": n}) for n in (1, 4)}
    assert card.count_params is not None
    # The head has two calls; the rest of the model is the same in both cells.
    added = 2 * (card.count_params(settings[4]) - card.count_params(settings[1]))
    assert by_groups[4]["params"] - by_groups[1]["params"] == added
    assert by_groups[4]["latency"]["passes"] is not None
    before = results.read_text()
    again = run("sweep", file, "-o", results, "--dry-run")
    assert "0 of 3 cells to measure" in again.stdout
    other = write(tmp_path, model={**MODEL, "where": ["head:0"]})
    assert "3 of 3 cells to measure" in run("sweep", other, "-o", results, "--dry-run").stdout
    assert results.read_text() == before


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"model": "smp/unet-resnet18"}, "model is smp/unet-resnet18, but must be a mapping"),
        ({"model": {"name": "smp/unet-resnet18"}}, "model: needs inputs: give input (HxW of the image) or inputs"),
        ({"model": {"name": "smp/none-resnet18", "input": "64x64"}}, "model.name: unknown model 'smp/none-resnet18'"),
        ({"model": {**MODEL, "where": "head"}}, "model.where is head, but must be a list of sites"),
        ({"model": {**MODEL, "sites": []}}, "model.sites: unknown key"),
        ({"model": {**MODEL, "weights": "none.pt"}}, "none.pt"),
        ({"model": {"name": "a:b", "inputs": "none.py"}}, "model.inputs is none.py, but must be FILE:FUNCTION"),
        ({"model": {"name": "a:b", "inputs": "none.py:make"}}, "model.inputs: there is no file"),
        ({"input": {"shape": "8x8x8"}}, "input.shape: does not go with model"),
        ({"input": {"dtype": "float16"}}, "input.dtype is float16, but a model is measured in float32"),
        ({"base": {"upsampler": "dysample", "scale": 2}}, "scale: does not go with model"),
        ({"measure": {"compile": "default"}}, "measure.compile: does not go with model"),
        ({"grid": {"shape": ["8x8x8", "8x9x9"]}}, "input.shape: does not go with model"),
        ({"base": {"upsampler": "dysample", "model": MODEL}}, "base.model belongs beside base"),
        ({"grid": {"groups": [0, 2]}, "base": {"upsampler": "dysampel"}}, "did you mean"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_what_does_not_go_with_a_model_is_refused(tmp_path: Path, more: dict[str, Any], sentence: str) -> None:
    said = refused("sweep", write(tmp_path, **more), "-o", tmp_path / "groups.jsonl")
    assert sentence in said
    assert not (tmp_path / "groups.jsonl").exists()


def test_a_single_spec_has_no_model(tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(yaml.safe_dump({"upsampler": "dysample", "model": MODEL}))
    assert "which `upbench sweep` measures" in refused("profile", file)
