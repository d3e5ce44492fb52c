"""The runtimes that run a module, one a file; `upbench.runtimes` lists them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from upbench import runtimes
from upbench.specs.run_spec import RunSpec


class Runtime(Protocol):
    """Runs a module.

    Attributes:
        name: Name of the runtime in specs and records.
    """

    name: str

    def why_not(self, spec: RunSpec, device: torch.device) -> str | None:
        """Return why the runtime cannot run a spec, as a clause; None where it can.

        Args:
            spec: The spec.
            device: Device of the spec.
        """

    def prepare(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> Callable[..., Any]:
        """Prepare a module and return the function that is called instead of it, with the same arguments.

        Args:
            module: The module, on its device, in its dtype and mode.
            inputs: Tensors of every call: x [B, C, H, W], and the guide where there is one.

        Returns:
            The module itself, or its replacement in every forward and backward that is measured.
        """


def load(name: str) -> Runtime:
    """Return a runtime; its module is imported when it is first needed.

    Args:
        name: Name in `upbench.runtimes.CLASSES`.
    """
    module, _, attribute = runtimes.CLASSES[name].partition(":")
    runtime: Runtime = getattr(import_module(module), attribute)()
    return runtime


def why_not(spec: RunSpec, device: torch.device) -> str | None:
    """Return why the runtime of a spec cannot run it, as a sentence that names both; None where it can.

    Args:
        spec: The spec.
        device: Device of the spec.
    """
    if reason := load(spec.measure.run_by).why_not(spec, device):
        return f"{spec.label}: runtime {spec.measure.run_by} cannot run it: {reason}"
    return None
