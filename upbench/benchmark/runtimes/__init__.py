"""What runs a module: each runtime a file, listed in `upbench.runtimes`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from upbench import runtimes
from upbench.specs.run_spec import RunSpec


class Runtime(Protocol):
    """What runs a module.

    Attributes:
        name: its name in specs and records.
    """

    name: str

    def why_not(self, spec: RunSpec, device: torch.device) -> str | None:
        """Why it cannot run this spec on this device, as a sentence without its end; None where it can."""

    def prepare(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> Callable[..., Any]:
        """Make of a module what is called instead of it: the same function, with the same arguments.

        Args:
            module: on its device, in its dtype and mode.
            inputs: x [B, C, H, W], and the guide where there is one, as every call will have them.

        Returns:
            The module itself, or what stands for it in every forward and backward that is measured.
        """


def load(name: str) -> Runtime:
    """The runtime of a name in `upbench.runtimes.CLASSES`, imported when it is first needed."""
    module, _, attribute = runtimes.CLASSES[name].partition(":")
    runtime: Runtime = getattr(import_module(module), attribute)()
    return runtime


def why_not(spec: RunSpec, device: torch.device) -> str | None:
    """Why the runtime of a spec cannot run it, as a sentence that names both; None where it can."""
    if reason := load(spec.measure.run_by).why_not(spec, device):
        return f"{spec.label}: runtime {spec.measure.run_by} cannot run it: {reason}"
    return None
