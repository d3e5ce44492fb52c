"""OpenVINO on the CPU, in float32, and in the precision that it takes by itself (https://docs.openvino.ai)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from upbench.deploy.targets import Loaded
from upbench.deploy.targets import onnxruntime as onnx_target
from upbench.exchange import openvino_model
from upbench.exchange.capture import Captured

PACKAGES = ("openvino", "onnx", "onnxscript")
EXTRA = "openvino"
VARIANTS = ("f32", "default")
SAMPLING = openvino_model.SAMPLING
OPEN = True
MOST: int | None = None
RUNS = True


def convert(captured: Captured, path: Path, variant: str, tensors: Sequence[Tensor]) -> None:
    """Write the ONNX file that OpenVINO reads."""
    path.write_bytes(onnx_target.written(captured, False))


def facts(path: Path) -> dict[str, Any]:
    """Return nodes, opset, operators left and sizes of a file."""
    return onnx_target.facts(path)


def load(path: Path, variant: str, threads: int) -> Loaded:
    """Compile a file; the precision in effect is what the compiled model says."""
    call, in_effect = openvino_model.load(path, "f32" if variant == "f32" else None, threads)
    return Loaded(call, variant, in_effect)
