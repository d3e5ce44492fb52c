"""onnxruntime: on the CPU, and on a GPU by CUDA or TensorRT (https://onnxruntime.ai/docs/execution-providers)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from upbench.benchmark.runtimes.exported import Exported
from upbench.exchange import onnx_file
from upbench.specs.run_spec import RunSpec


class OnnxRuntime(Exported):
    """Runs the file by onnxruntime's own kernels on the CPU."""

    name = "onnxruntime"
    package = "onnxruntime"
    extra = "onnxruntime"
    sampling = onnx_file.SAMPLING
    provider = "CPUExecutionProvider"

    def why_not(self, spec: RunSpec, device: torch.device) -> str | None:
        """Return why it cannot run a spec, as a clause; None where it can."""
        if reason := super().why_not(spec, device):
            return reason
        import onnxruntime

        available = onnxruntime.get_available_providers()
        if self.provider not in available:
            return f"the onnxruntime that is installed has no {self.provider}, but {', '.join(available)}"
        return None

    def load(self, file: Path, dtype: torch.dtype) -> tuple[Callable[..., tuple[Tensor, ...]], str, str]:
        """Load the file; the precision in effect is that of its graph after optimisation."""
        asked = str(dtype).removeprefix("torch.")
        optimised = file.with_name("optimised.onnx")
        call: Any = onnx_file.load(file, torch.get_num_threads(), (self.provider, "CPUExecutionProvider"), optimised)
        ran = call.session.get_providers()[0]
        if ran != self.provider:
            return call, asked, f"{asked}, on {ran}"
        casts = onnx_file.casts(optimised) if dtype == torch.float16 and optimised.exists() else 0
        return call, asked, f"{asked}, {casts} operators in float32" if casts else asked


class OnnxRuntimeCuda(OnnxRuntime):
    """Runs the file by onnxruntime's CUDA kernels."""

    name = "onnxruntime-cuda"
    provider = "CUDAExecutionProvider"
    sampling = "gridsample"
    devices = ("cuda",)


class OnnxRuntimeTensorRT(OnnxRuntimeCuda):
    """Runs the file by TensorRT within onnxruntime."""

    name = "onnxruntime-tensorrt"
    provider = "TensorrtExecutionProvider"
