"""`upbench deploy`: a row for each upsampler and runtime, whatever the runtime makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.command_line import refused, upbench
from tests.deploy import fake_worker
from upbench.deploy import job, run, targets
from upbench.deploy.targets import Loaded
from upbench.deploy.targets import onnxruntime as onnx_target
from upbench.exchange.capture import Captured
from upbench.specs import run_spec

pytest.importorskip("onnxruntime", reason="needs onnxruntime")
pytest.importorskip("onnxscript", reason="needs onnxscript")
pytestmark = pytest.mark.filterwarnings("ignore")
SMALL = ("--shape", "8x4x6")


def spec(name: str = "pixelshuffle", **more: Any) -> dict[str, Any]:
    return run_spec.load({"upsampler": name, "input": {"shape": "8x4x6"}, **more}).to_dict()


def silent(what: str, part: float) -> None:
    """Say nothing."""


def test_a_row_for_each_upsampler_and_way_to_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record, table = tmp_path / "cells.jsonl", tmp_path / "deploy.md"
    by = ("deploy", "pixelshuffle", *SMALL, "--to", "onnxruntime", "--record", record)
    result = upbench(*by, "-o", table, "--format", "markdown")
    assert result.exit_code == 0, result.output
    text = table.read_text()
    assert "2 cells: 1 right, 1 unjudged" in text
    assert "x 8x4x6" in text
    monkeypatch.setattr(run, "_started", lambda: pytest.fail("a cell of the record was run again"))
    again = upbench(*by, "--format", "json")
    exact, quantised = json.loads(again.stdout)
    assert (exact["runtime"], exact["variant"], exact["verdict"]) == ("onnxruntime", "float32", "right")
    assert exact["sizes"] == [["batch", 8, "height", "width"]]
    assert exact["input"] == "1x8x4x6"
    assert exact["left"] == {}
    assert 0 < exact["error"] <= exact["limit"] == 1e-5
    assert 0 < exact["other_error"] <= 1e-5
    assert exact["own_error"] > 0
    assert exact["precision_asked"] == exact["precision"] == "float32"
    assert exact["latency_to_eager"] > 0
    assert exact["opset"] == 20
    assert exact["nodes"] > 0
    assert exact["bytes"] > 8 * 32 * 9 * 4
    assert quantised["verdict"] == "unjudged"
    assert quantised["precision"].startswith("int8, ")
    assert 1e-4 < quantised["error"] < 0.2
    assert quantised["own_error"] is None
    assert quantised["bytes"] < exact["bytes"]
    for width in ("80", "120"):
        shown = upbench(*by, env={"COLUMNS": width})
        assert "right" in shown.stdout
        assert all(len(line) <= int(width) for line in shown.stdout.splitlines())


def test_a_wrong_output_is_a_verdict_without_a_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    load = onnx_target.load

    def planted(change: Any) -> None:
        def off(path: Path, variant: str, threads: int) -> Loaded:
            good = load(path, variant, threads)
            return Loaded(lambda *t: tuple(change(out, t[0]) for out in good.call(*t)), good.asked, good.in_effect)

        monkeypatch.setattr(onnx_target, "load", off)

    planted(lambda out, x: out + 0.01 * (x.shape[3] - 6))
    cell = job.deploy(spec("nearest"), "onnxruntime", "float32", False, silent)
    assert (cell.verdict, cell.error) == ("wrong", 0.0)
    assert cell.other_size == "1x8x5x7"
    assert cell.other_error is not None
    assert cell.other_error > 1e-3
    assert cell.runtime_s == []
    planted(lambda out, x: out[..., 1:])
    cell = job.deploy(spec("nearest"), "onnxruntime", "float32", False, silent)
    assert (cell.verdict, cell.error) == ("wrong", float("inf"))
    planted(lambda out, x: out.bfloat16().float())
    cell = job.deploy(spec("nearest"), "onnxruntime", "float32", False, silent)
    assert cell.verdict == "wrong"
    good = onnx_target.load

    def says_so(path: Path, variant: str, threads: int) -> Loaded:
        return Loaded(good(path, variant, threads).call, "default", "bf16")

    monkeypatch.setattr(onnx_target, "load", says_so)
    cell = job.deploy(spec("nearest"), "onnxruntime", "float32", True, silent)
    assert (cell.verdict, cell.precision) == ("right", "bf16")
    assert cell.own_error == pytest.approx(cell.error)
    assert cell.sizes == [[1, 8, 4, 6]]
    assert cell.other_error is None


def test_the_step_that_failed_and_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: Any) -> Any:
        raise RuntimeError("no such kernel\nand more")

    def call(*_: Any) -> Loaded:
        return Loaded(breaks, "float32", "float32")

    monkeypatch.setattr(onnx_target, "load", call)
    cell = job.deploy(spec("nearest"), "onnxruntime", "float32", False, silent)
    assert (cell.verdict, cell.step) == ("failed", "run")
    assert cell.reason == "it fails at 1x8x4x6: RuntimeError: no such kernel"
    monkeypatch.setattr(torch.onnx, "export", breaks)
    cell = job.deploy(spec("bilinear"), "onnxruntime", "float32", False, silent)
    assert (cell.verdict, cell.step) == ("failed", "conversion")


def test_a_program_is_converted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A converter may change the program that it is given, as AOTInductor does where it fails."""
    convert = onnx_target.convert

    def ruins(captured: Captured, path: Path, variant: str, tensors: Any) -> None:
        convert(captured, path, variant, tensors)
        for node in list(captured.program.graph.nodes):
            if node.op == "output":
                captured.program.graph.erase_node(node)

    monkeypatch.setattr(onnx_target, "convert", ruins)
    for _ in range(2):
        assert job.deploy(spec("nearest"), "onnxruntime", "float32", False, silent).verdict == "right"


def test_a_cell_that_hangs_or_dies_costs_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "MODULE", fake_worker.__name__)
    ways = [("ncnn", "float32"), ("openvino", "f32"), ("onnxruntime", "float32"), ("onnxruntime", "int8")]
    died, hung, first, second = run.run(run.Plan({"up": spec()}, ways, limit_s=1.0), silent)
    assert (died.verdict, died.step) == ("crashed", "conversion")
    assert "SIGSEGV" in str(died.reason)
    assert (hung.verdict, hung.step, hung.reason) == ("timed out", "conversion", "it took longer than 1 s")
    assert (first.verdict, second.verdict) == ("right", "right")
    assert first.nodes == second.nodes
    assert {cell.upsampler for cell in (died, hung, first, second)} == {"up"}


def test_a_missing_package_is_a_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "find_spec", lambda name: None if name == "coremltools" else True)
    cell = job.deploy(spec(), "coreml", "float32", False, silent)
    assert cell.verdict == "not installed"
    assert (
        cell.reason
        == "coremltools must be installed; in the clone of upbench run: pip install -c constraints.txt -e '.[coreml]'"
    )


def test_every_target_is_one_file_that_defines_what_a_target_has() -> None:
    assert set(targets.names()) >= {"onnxruntime", "openvino", "executorch", "coreml", "litert", "ncnn", "aoti"}
    for name in targets.names():
        target = targets.load(name)
        assert target.VARIANTS
        assert callable(target.convert)
        assert callable(target.facts)
        assert callable(target.load)
        assert isinstance(target.OPEN, bool)


def test_bad_input_is_one_sentence(tmp_path: Path) -> None:
    by = ("deploy", "nearest", *SMALL, "--to")
    assert "--to onnx: must be one of aoti, coreml, executorch" in refused(*by, "onnx")
    assert "did you mean 'onnxruntime'" in refused(*by, "onnxruntim")
    assert "--limit 0: must be more than 0 seconds" in refused(*by, "ncnn", "--limit", 0)
    assert "--threads 0: must be an integer of at least 1" in refused(*by, "ncnn", "--threads", 0)
    twice = ("--record", tmp_path / "a.md", "-o", tmp_path / "a.md")
    assert "given for --output and --record; choose two files" in refused(*by, "ncnn", *twice)
    assert "has the name of a model, and no result is one" in refused(*by, "ncnn", "-o", tmp_path / "up.onnx")
    assert "--dtype: deploy runs one sample in float32, forward; leave it out" in refused(
        *by, "ncnn", "--dtype", "float16"
    )
    assert "--batch, --mode: deploy runs one sample" in refused(*by, "ncnn", "--batch", 2, "--mode", "training")
    assert "scale is 1.5, but carafe can do whole numbers only" in refused("deploy", "carafe", "--scale", 1.5)
    assert "unknown upsampler" in refused("deploy", "caraffe", "--to", "ncnn")
    record = tmp_path / "cells.jsonl"
    record.write_text("no cell\n{}\n")
    assert f"{record}, line 1: is no cell of upbench deploy" in refused(*by, "ncnn", "--record", record)
    assert record.read_text() == "no cell\n{}\n"
    for other in ("hello\n", '{"key": "a", "cell": []}\n', '{"schema": 2}\n', "\x00\x01"):
        record.write_text(other)
        assert f"{record}, line 1: is no cell of upbench deploy" in refused(*by, "ncnn", "--record", record)
        assert record.read_text() == other
    assert "--limit nan: must be more than 0 seconds" in refused(*by, "ncnn", "--limit", "nan")
    assert str(tmp_path / "none") in refused(*by, "ncnn", "-o", tmp_path / "none" / "a.md")
    assert [path.name for path in tmp_path.iterdir()] == ["cells.jsonl"]


def test_a_cut_line_of_a_record_costs_itself_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "MODULE", fake_worker.__name__)
    record, plan = tmp_path / "cells.jsonl", run.Plan({"up": spec()}, [("onnxruntime", "float32")], limit_s=9.0)
    cut = '{"key": "[...]", "cell": {"upsamp'
    record.write_text(cut)
    run.run(plan, silent, record)
    assert record.read_text().splitlines()[0] == cut
    assert json.loads(record.read_text().splitlines()[1])["cell"]["verdict"] == "right"
    monkeypatch.setattr(run, "_started", lambda: pytest.fail("a cell of the record was run again"))
    assert [cell.verdict for cell in run.run(plan, silent, record)] == ["right"]


def test_a_module_that_raises_is_a_verdict() -> None:
    failing = spec("tests.modules.seg_failing:Failing")
    cell = job.deploy(failing, "onnxruntime", "float32", False, silent)
    assert (cell.verdict, cell.step) == ("failed", "capture")
    assert "no memory of how to upsample" in str(cell.reason)
    runaway = spec("tests.modules.seg_failing:Diverging")
    cell = job.deploy(runaway, "onnxruntime", "float32", False, silent)
    assert (cell.verdict, cell.step) == ("failed", "capture")
    assert "returns numbers that are not finite at 1x8x4x6" in str(cell.reason)
