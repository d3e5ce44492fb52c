"""onnxruntime on the CPU, in float32, and in int8 by static quantisation (https://onnxruntime.ai)."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from upbench.deploy.targets import Loaded
from upbench.errors import first_line
from upbench.exchange import onnx_file, other_sizes
from upbench.exchange.capture import Captured, ExportError, quiet

PACKAGES = ("onnxruntime", "onnx", "onnxscript")
EXTRA = "onnxruntime"
VARIANTS = ("float32", "int8")
SAMPLING = onnx_file.SAMPLING
OPEN = True
MOST: int | None = None
RUNS = True
CALIBRATED_BY = 4
"""Inputs, the traced one among them, whose ranges a quantised file is calibrated by."""


def convert(captured: Captured, path: Path, variant: str, tensors: Sequence[Tensor]) -> None:
    """Write an ONNX file; int8 is a QDQ file: weights by channel, activations by tensor, ranges of normal inputs."""
    if variant != "int8":
        path.write_bytes(written(captured, False))
        return
    from onnxruntime import quantization

    whole = path.with_name(f"whole-{path.name}")
    whole.write_bytes(written(captured, onnx_file.has_norms(captured)))
    try:
        with quiet():
            quantization.quantize_static(
                str(whole),
                str(path),
                _Inputs(onnx_file.input_names(whole), tensors),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                weight_type=quantization.QuantType.QInt8,
                activation_type=quantization.QuantType.QUInt8,
            )
    except Exception as error:
        raise ExportError(
            f"onnxruntime cannot quantise it: {first_line(error, located=False)}", "conversion"
        ) from error


@lru_cache(4)
def written(captured: Captured, whole_norms: bool) -> bytes:
    """Write a program as ONNX; kept for the next way to run it, since writing takes longer than most cells.

    Args:
        captured: The program.
        whole_norms: As of `onnx_file.write`.
    """
    with tempfile.TemporaryDirectory(prefix="upbench-") as folder:
        file = Path(folder) / "module.onnx"
        onnx_file.write(captured, file, whole_norms=whole_norms)
        return file.read_bytes()


class _Inputs:
    """Inputs that ranges are measured with, as onnxruntime's quantiser reads them."""

    def __init__(self, names: Sequence[str], tensors: Sequence[Tensor]) -> None:
        height, width = tensors[0].shape[2:]
        more = [other_sizes.resized(tensors, height, width, seed=n) for n in range(2, 1 + CALIBRATED_BY)]
        self._left = [{name: t.numpy() for name, t in zip(names, one, strict=True)} for one in (tuple(tensors), *more)]

    def get_next(self) -> dict[str, Any] | None:
        """Return the next inputs; None after the last."""
        return self._left.pop(0) if self._left else None


def facts(path: Path) -> dict[str, Any]:
    """Return nodes, opset, operators left and sizes of a file."""
    found = onnx_file.facts(path)
    return {**found, "sizes": onnx_file.sizes(path)}


def load(path: Path, variant: str, threads: int) -> Loaded:
    """Load a file; the precision in effect is that of its graph: int8 where it holds quantised values."""
    call = onnx_file.load(path, threads)
    quantised = onnx_file.count(path, "QuantizeLinear")
    return Loaded(call, variant, f"int8, {quantised} quantised values" if quantised else "float32")
