"""Models of OpenVINO: compiled from ONNX files, in a precision that is asked for and read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from upbench.errors import first_line
from upbench.exchange.capture import ExportError

SAMPLING = "gridsample"
HINTS = {torch.float32: "f32", torch.float16: "f16"}
"""Dtype of the inputs -> the precision that is asked for."""


def load(path: Path, hint: str | None, threads: int | None = None) -> tuple[Callable[..., tuple[Tensor, ...]], str]:
    """Compile a file for the CPU.

    Args:
        path: An ONNX file.
        hint: The precision that is asked for, f32 or f16; None leaves it to OpenVINO.
        threads: Threads of a call; None leaves OpenVINO's default.

    Returns:
        A function of tensors, and the precision in effect as the compiled model says it.

    Raises:
        ExportError: If OpenVINO cannot read or compile the file.
    """
    import openvino

    options: dict[str, Any] = {"NUM_STREAMS": 1}
    if hint is not None:
        options["INFERENCE_PRECISION_HINT"] = hint
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    try:
        core = openvino.Core()
        model = core.compile_model(core.read_model(str(path)), "CPU", options)
    except Exception as error:
        raise ExportError(f"OpenVINO refuses the file: {first_line(error)}", "load") from error
    in_effect = model.get_property("INFERENCE_PRECISION_HINT")
    count = len(model.outputs)

    def call(*tensors: Tensor) -> tuple[Tensor, ...]:
        found = model([t.detach().cpu().contiguous().numpy() for t in tensors])
        return tuple(torch.from_numpy(found[n]) for n in range(count))

    text = in_effect.get_type_name() if hasattr(in_effect, "get_type_name") else str(in_effect)
    return call, text
