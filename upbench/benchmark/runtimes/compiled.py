"""The runtimes of torch.compile: a module is compiled when it is first called, in each of its modes (https://pytorch.org/docs/stable/torch.compiler.html)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from upbench.specs.run_spec import RunSpec


class Compiled:
    """Compiles with torch.compile's default mode."""

    name = "compile"
    mode = "default"

    def why_not(self, spec: RunSpec, device: torch.device) -> str | None:
        """Return None: code that torch.compile cannot compile runs in torch."""
        return None

    def prepare(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> Callable[..., Any]:
        """Return the compiled module; earlier compilations are dropped, so that its first call shows the time of compiling."""
        torch.compiler.reset()
        compiled: Callable[..., Any] = torch.compile(module, mode=self.mode)
        return compiled


class MaxAutotune(Compiled):
    """Compiles with torch.compile's mode max-autotune."""

    name = "compile-max-autotune"
    mode = "max-autotune"
