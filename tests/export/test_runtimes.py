"""Runtimes that run a file: side by side with torch, with their error and precision, and no speed for wrong values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from tests.command_line import refused, upbench
from upbench.benchmark import measurement
from upbench.benchmark.runtimes import onnx_runtime, open_vino
from upbench.exchange import onnx_file

pytest.importorskip("onnxruntime", reason="needs onnxruntime")
pytest.importorskip("onnxscript", reason="needs onnxscript")
pytest.importorskip("openvino", reason="needs openvino")
pytestmark = [pytest.mark.filterwarnings("ignore")]
QUICK = ("--shape", "8x4x6", "--device", "cpu", "--threads", "1", "--budget", "0.02")


@pytest.fixture(autouse=True)
def _no_long_aa_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurement, "AA_S", 0.01)


def test_runtimes_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    load = onnx_file.load

    def counted(path: Path, number: int | None = None, *more: object) -> object:
        threads.append((number, torch.get_num_threads()))
        return load(path, number, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(onnx_file, "load", counted)
    result = upbench("compare", "bilinear", *QUICK, "--runtime", "torch,onnxruntime,openvino", "--format", "json")
    assert result.exit_code == 0, result.output
    assert set(threads) == {(1, 1)}
    document = json.loads(result.stdout)
    records = document["records"]
    assert [r["runtime"] for r in records] == ["torch", "onnxruntime", "openvino"]
    assert len({r["comparison"] for r in records}) == 1
    assert all(len(r["latency"]["samples_s"]) >= 2 for r in records)
    assert records[0]["execution"] is None
    for record, precision in zip(records[1:], ("float32", "f32"), strict=True):
        ran = record["execution"]
        assert (ran["precision_asked"], ran["precision"]) == (precision, precision)
        assert 0 < ran["error"] <= ran["limit"]
        assert record["memory"] is None
        assert record["macs"] == records[0]["macs"]
    judged = [c for c in document["checks"] if c["name"] == "runtime"]
    assert [c["passed"] for c in judged] == [True, True]


def test_the_table_says_how_far_off_and_how_precisely() -> None:
    result = upbench("compare", "nearest", *QUICK, "--runtime", "torch,onnxruntime", env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    assert "0.0e+00" in result.stdout
    assert "float32 > float32" in result.stdout


def test_a_fast_wrong_answer_has_no_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    load = onnx_runtime.OnnxRuntime.load

    def off(self: object, file: Path, dtype: torch.dtype) -> object:
        call, asked, _ = load(self, file, dtype)  # type: ignore[arg-type]
        return lambda *tensors: tuple(out * 1.001 for out in call(*tensors)), asked, "bf16"

    monkeypatch.setattr(onnx_runtime.OnnxRuntime, "load", off)
    result = upbench("compare", "nearest", *QUICK, "--runtime", "torch,onnxruntime")
    assert result.exit_code == 1
    assert (
        "check runtime: nearest [onnxruntime] returned values that are 0.001 of the largest value off" in result.stderr
    )
    assert "precision asked float32, in effect bf16" in result.stderr
    assert result.stdout == ""
    assert "0.001 of the largest value off from eager float64" in refused(
        "profile", "nearest", *QUICK, "--runtime", "onnxruntime"
    )


def test_a_runtime_is_an_axis_of_a_sweep_that_runs(tmp_path: Path) -> None:
    plan = {
        "name": "s",
        "base": {"upsampler": "nearest"},
        "input": {"shape": "8x4x4"},
        "measure": {"budget": 0.01, "device": "cpu", "threads": 1},
        "grid": {"runtime": ["torch", "onnxruntime"]},
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(plan))
    done = upbench("sweep", tmp_path / "s.yaml", "--output", tmp_path / "r.jsonl")
    assert done.exit_code == 0, done.output
    records = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [(r["axes"]["runtime"], r["status"]) for r in records] == [("torch", "ok"), ("onnxruntime", "ok")]
    assert records[1]["execution"]["error"] == 0


def test_what_a_file_cannot_do_is_said_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    by = ("compare", "nearest", *QUICK, "--runtime")
    assert "runtime onnxruntime cannot run it: it runs a file, which has no backward" in refused(
        *by, "torch,onnxruntime", "--mode", "training"
    )
    assert "a file holds float32 or float16, but dtype is bfloat16" in refused(*by, "openvino", "--dtype", "bfloat16")
    assert "it runs on cuda, but the device is cpu" in refused(*by, "onnxruntime-cuda")
    assert "--runtime torch,onnx: a runtime is onnx, but must be one of torch" in refused(*by, "torch,onnx")
    monkeypatch.setattr("upbench.benchmark.runtimes.exported.find_spec", lambda name: None if name == "openvino" else 1)
    assert (
        "openvino must be installed; in the clone of upbench run: pip install -c constraints.txt -e '.[openvino]'"
        in refused(*by, "openvino")
    )


def test_the_default_precision_is_read_from_the_compiled_model(tmp_path: Path) -> None:
    import upbench as package

    file = tmp_path / "up.onnx"
    package.export(package.build("pixelshuffle", 8, seed=0), torch.randn(1, 8, 4, 6), file, sampling="gridsample")
    _, asked, in_effect = open_vino.OpenVINODefault().load(file, torch.float32)
    assert asked == "default"
    assert in_effect in ("f32", "bf16", "f16")
    assert open_vino.OpenVINO().load(file, torch.float32)[1:] == ("f32", "f32")
