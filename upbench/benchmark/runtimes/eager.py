"""The runtimes of plain torch: a module is called operator by operator; its result in new memory, or in memory that is kept."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from upbench import registry
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


class Reuse(Eager):
    """Calls the module, which writes into the memory of its last result, as the buffers that other runtimes are bound to."""

    name = "torch-reuse"

    def why_not(self, spec: RunSpec, device: torch.device) -> str | None:
        """Return why it cannot run a spec, as a clause; None where it can."""
        if spec.measure.mode != "inference":
            return (
                f"a result that backward needs is not written over, but mode is {spec.measure.mode}; use mode inference"
            )
        return None

    def prepare(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> nn.Module:
        """Return the module itself, set to write over its last result.

        Raises:
            SpecError: If it is no upsampler of upbench's own.
        """
        registry.reuse_output(module, type(module).__name__)
        return module
