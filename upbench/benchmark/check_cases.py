"""The cases of checks: one that keeps its first output until it was read, and one that is built and not called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from upbench import cards
from upbench.benchmark.case import Case
from upbench.benchmark.workload import explained
from upbench.machine import environment
from upbench.measure import clock
from upbench.measure import output as measured
from upbench.measure.clock import Clock
from upbench.specs.run_spec import RunSpec


class CheckedCase(Case):
    """A case that keeps what its first call returned; once checked, it may be measured.

    Attributes:
        first: Output of the first call; None once it was read.
    """

    first: Any = None

    def _called(self, out: Any) -> None:
        self.first = out

    def read(self) -> Tensor:
        """Return the output of the first call as one tensor, and keep it no longer.

        Of a user's module it is that of one more call: it may prepare itself in the first one, and it may return the same
        tensor again.
        """
        first, self.first = self.first, None
        if self.spec.upsampler in cards.builtin() and not self.written:
            return measured.joined(first)
        return forward(self).clone()

    def again(self) -> Tensor:
        """Return the output of one more call right after `read`, which goes on from where that one left inputs and draws.

        In evaluation mode neither chance nor the first call may change the second.
        """
        with explained(self.spec), self.guarded(again=True):
            return measured.joined(self.forward())


class BareCase(Case):
    """A case whose module was built and not called.

    Args:
        spec: The spec.
        device: Device to build on.
        like: The case of the same module whose first call showed which inputs it writes to.
    """

    def __init__(self, spec: RunSpec, device: torch.device, like: Case) -> None:
        super().__init__(spec, device, clock.clock_for(device))
        self.written, self.resizes = like.written, like.resizes

    def _call_once(self, clock: Clock) -> None:
        self.backends: dict[str, str] = {}
        self.output, self.output_bytes, self.first_call_s = None, 0, 0.0
        self.gradients: list[Tensor] = []


def checked(spec: RunSpec) -> CheckedCase:
    """Build a spec in the form in which it is checked, and call it.

    Args:
        spec: The spec.
    """
    device = environment.resolve_device(spec.measure.device)
    return CheckedCase(as_checked(spec), device, clock.clock_for(device))


def bare(case: Case, spec: RunSpec | None = None, **measure: str | None) -> BareCase:
    """Build a spec without calling it.

    Args:
        case: A case of the same upsampler that was called.
        spec: The spec; None for that of the case.
        measure: Keys of its `measure` with other values.
    """
    return BareCase(with_(spec or case.spec, None, **measure), case.device, case)


def as_checked(spec: RunSpec) -> RunSpec:
    """Return a spec in the form in which it is checked: in evaluation mode, not compiled."""
    return with_(spec, mode="inference", compile="off", runtime=None)


def with_(spec: RunSpec, inputs: Mapping[str, Any] | None = None, **measure: str | None) -> RunSpec:
    """Return a spec with other values.

    Args:
        spec: The spec.
        inputs: Key of `input` -> value.
        measure: Key of `measure` -> value.
    """
    changes = {
        "measure": spec.measure.model_copy(update=measure),
        "input": spec.input.model_copy(update=dict(inputs or {})),
    }
    return spec.model_copy(update=changes)


def forward(case: Case) -> Tensor:
    """Return the output of one call as one tensor.

    Args:
        case: The case, whose inputs and random draws are those of its spec.
    """
    with explained(case.spec), case.guarded():
        return measured.joined(case.forward())
