"""The runtime of plain torch: a module is called operator by operator."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from upbench.specs.run_spec import RunSpec


class Eager:
    """Calls the module itself."""

    name = "torch"

    def why_not(self, spec: RunSpec, device: torch.device) -> str | None:
        """Return None: it runs everything."""
        return None

    def prepare(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> nn.Module:
        """Return the module itself."""
        return module
