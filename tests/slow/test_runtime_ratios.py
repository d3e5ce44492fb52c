"""What the forms for files gain in onnxruntime, at 256x120x120 and one thread: ratios of processor time in interleaved rounds.

Five minutes; `-s` prints the ratios.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from upbench.benchmark import spec_module
from upbench.deploy.latency import rounds
from upbench.exchange import onnx_file
from upbench.exchange.capture import capture
from upbench.specs import run_spec

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
pytest.importorskip("onnxruntime", reason="needs onnxruntime")
SHAPE = "256x120x120"


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def built(name: str) -> Any:
    spec = run_spec.load(
        {"upsampler": name, "input": {"shape": SHAPE, "offsets": "trained"}, "measure": {"backend": "eager"}}
    )
    return spec_module.built(spec)


def file(module: Any, tensors: Any, path: Path, sampling: str) -> Callable[..., Any]:
    onnx_file.write(capture(module, tensors, True, sampling), path)
    return onnx_file.load(path, 1)


def ratio(calls: Mapping[str, Callable[..., Any]], tensors: Any, one: str, other: str) -> float:
    with torch.no_grad():
        found = rounds({name: lambda call=call: call(*tensors) for name, call in calls.items()}, budget_s=30.0)
    pairs = [a / b for a, b in zip(found[one], found[other], strict=True)]
    print(f"{one} / {other} at {SHAPE}: {statistics.median(pairs):.3f}, {len(pairs)} rounds")
    return statistics.median(pairs)


def test_carafe_takes_no_longer_than_eager(tmp_path: Path) -> None:
    module, tensors = built("carafe")
    calls = {"onnxruntime": file(module, tensors, tmp_path / "a.onnx", "gathers"), "eager": module}
    assert ratio(calls, tensors, "onnxruntime", "eager") <= 1.0


def test_gathers_take_half_of_gridsample(tmp_path: Path) -> None:
    module, tensors = built("dysample")
    calls = {way: file(module, tensors, tmp_path / f"{way}.onnx", way) for way in ("gathers", "gridsample")}
    assert ratio(calls, tensors, "gathers", "gridsample") <= 0.5
