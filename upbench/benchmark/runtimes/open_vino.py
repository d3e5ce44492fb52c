"""OpenVINO on the CPU, in float32, or in the precision that it takes by itself (https://docs.openvino.ai)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from upbench.benchmark.runtimes.exported import Exported
from upbench.exchange import openvino_model


class OpenVINO(Exported):
    """Compiles the file with the precision of its inputs as the hint."""

    name = "openvino"
    package = "openvino"
    extra = "openvino"
    sampling = openvino_model.SAMPLING

    def load(self, file: Path, dtype: torch.dtype) -> tuple[Callable[..., tuple[Tensor, ...]], str, str]:
        """Load the file; the precision in effect is what the compiled model says."""
        asked = openvino_model.HINTS[dtype]
        call, in_effect = openvino_model.load(file, asked, torch.get_num_threads())
        return call, asked, in_effect


class OpenVINODefault(OpenVINO):
    """Compiles the file without a hint: bfloat16 where the CPU has instructions for it."""

    name = "openvino-default"

    def load(self, file: Path, dtype: torch.dtype) -> tuple[Callable[..., tuple[Tensor, ...]], str, str]:
        """Load the file; the precision in effect is what the compiled model says."""
        call, in_effect = openvino_model.load(file, None, torch.get_num_threads())
        return call, "default", in_effect
