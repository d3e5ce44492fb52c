"""A runtime is one file and one entry: seen in specs, profile, compare, sweeps and every record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.command_line import upbench
from upbench import runtimes
from upbench.benchmark import measurement
from upbench.specs import run_spec

NAMES = ", ".join(runtimes.CLASSES)

TOY = """
calls = []


class Toy:
    name = "toy"

    def why_not(self, spec, device):
        return "it cannot train" if spec.measure.mode != "inference" else None

    def prepare(self, module, inputs):
        def call(*tensors):
            calls.append(len(tensors))
            return module(*tensors)

        return call
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a spec that the toy runtime runs."""
    monkeypatch.setattr(measurement, "AA_S", 0.01)
    (tmp_path / "toy_runtime.py").write_text(TOY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(runtimes.CLASSES, "toy", "toy_runtime:Toy")
    return written(tmp_path, runtime="toy")


def written(folder: Path, name: str = "carafe", **measure: object) -> Path:
    file = folder / f"{name}.yaml"
    whole = {"device": "cpu", "budget": 0.02, **measure}
    file.write_text(yaml.safe_dump({"upsampler": name, "input": {"shape": "16x6x5"}, "measure": whole}))
    return file


def test_a_new_runtime_is_seen_in_profile_and_its_record(toy: Path) -> None:
    import toy_runtime

    toy_runtime.calls.clear()
    record = json.loads(upbench("profile", toy, "--format", "json").stdout)
    assert (record["runtime"], record["spec"]["measure"]["runtime"]) == ("toy", "toy")
    assert len(toy_runtime.calls) > len(record["latency"]["samples_s"])
    plain = json.loads(upbench("profile", "carafe", "--shape", "16x6x5", "--budget", "0.02", "--format", "json").stdout)
    assert plain["runtime"] == "torch"
    assert record["macs"] == plain["macs"]
    assert record["output"]["digest"] == plain["output"]["digest"]
    assert "runtime toy" in upbench("profile", toy).stdout


def test_a_new_runtime_is_seen_in_compare(toy: Path, tmp_path: Path) -> None:
    result = upbench("compare", toy, "carafe", "--format", "json")
    assert result.exit_code == 0, result.output
    records = json.loads(result.stdout)["records"]
    assert [(r["label"], r["runtime"]) for r in records] == [("carafe [toy]", "toy"), ("carafe", "torch")]
    assert len({r["comparison"] for r in records}) == 1
    assert "carafe [toy]" in upbench("compare", toy, "carafe").stdout


def test_a_new_runtime_is_an_axis_of_a_sweep(toy: Path, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    plan = {
        "name": "s",
        "base": {"upsampler": "nearest"},
        "input": {"shape": "8x4x4"},
        "grid": {"runtime": ["torch", "toy"]},
    }
    file.write_text(yaml.safe_dump({**plan, "measure": {"budget": 0.01, "device": "cpu"}}))
    dry = upbench("sweep", file, "--dry-run", "--output", tmp_path / "r.jsonl")
    assert dry.exit_code == 0, dry.output
    assert "toy" in dry.stdout


def test_what_a_runtime_cannot_do_is_said_before_anything_runs(toy: Path) -> None:
    for command in (("profile", toy), ("compare", toy, "nearest")):
        result = upbench(*command, "--mode", "training")
        assert result.exit_code == 2
        assert "carafe [toy]: runtime toy cannot run it: it cannot train" in result.stderr
        assert result.stdout == ""


@pytest.mark.parametrize(
    ("measure", "sentence"),
    [
        (
            {"runtime": "torhc"},
            f"measure.runtime is torhc, but must be one of {NAMES}; did you mean 'torch'?",
        ),
        (
            {"runtime": "torch", "compile": "default"},
            "measure.runtime is torch, but measure.compile is default; leave one of them out",
        ),
        ({"runtime": 3}, f"measure.runtime is 3, but must be one of {NAMES}"),
    ],
)
def test_a_runtime_that_is_none_is_refused(tmp_path: Path, measure: dict[str, object], sentence: str) -> None:
    result = upbench("profile", written(tmp_path, **measure))
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_compile_is_another_way_to_write_a_runtime() -> None:
    """A spec without a runtime is written down as it always was: its records are those of the same cell."""
    plain = run_spec.load({"upsampler": "nearest"})
    assert "runtime" not in plain.to_dict()["measure"]
    assert plain.measure.run_by == "torch"
    for mode in ("default", "max-autotune"):
        compiled = run_spec.load({"upsampler": "nearest", "measure": {"compile": mode}})
        assert compiled.measure.run_by == runtimes.OF_COMPILE[mode]
        assert compiled.to_dict()["measure"]["compile"] == mode
    chosen = run_spec.load({"upsampler": "nearest", "measure": {"runtime": "compile"}})
    assert run_spec.load(chosen.to_dict()) == chosen
