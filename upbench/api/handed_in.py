"""A module instance that is handed in, measured as it is: no spec says how to build it again."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from upbench.benchmark import measurement
from upbench.benchmark.case import Case
from upbench.benchmark.workload import RunError
from upbench.cards import Card
from upbench.errors import SpecError
from upbench.measure import clock, output
from upbench.records.record import Record
from upbench.specs import run_spec
from upbench.specs.run_spec import InputSpec, MeasureSpec, RunSpec
from upbench.user_code import isolation


class _Spec(RunSpec):
    """What the instruments must know of a module that no spec describes; it never stands in a record."""

    @property
    def card(self) -> Card:
        """A card without closed forms."""
        return Card(self.upsampler, "", "", None, scales="any", origin="a module that was handed in")

    @property
    def label(self) -> str:
        """The name of its class."""
        return self.upsampler


class _HandedIn(Case):
    def __init__(
        self, module: nn.Module, tensors: tuple[Tensor, ...], spec: RunSpec, device: torch.device, watch: clock.Clock
    ) -> None:
        self._module, self._tensors = module, tensors
        super().__init__(spec, device, watch)

    def _built(self) -> nn.Module:
        return self._module.to(self.device).train(self.spec.measure.mode != "inference")

    def _make_inputs(self) -> tuple[Tensor, ...]:
        return tuple(tensor.detach().clone().to(self.device) for tensor in self._tensors)

    def _check(self, out: object) -> None:
        """Any single tensor will do."""
        if not isinstance(out, Tensor):
            raise RunError(f"{self.spec.label} returned {type(out).__name__}, but must return one tensor")
        if out.is_floating_point() and output.not_finite(out):
            self.warnings.append(
                "the output has values that are not finite; times and memory stand, the result does not"
            )


@isolation.isolated()
def profile(module: nn.Module, tensors: tuple[Tensor, ...], **measure: Any) -> Record:
    """Measure a module on the inputs that it is given. A copy is measured where the module can be copied.

    Args:
        module: called as module(*tensors); returns one tensor.
        tensors: the inputs of one call.
        measure: keys of `measure` in a spec (mode, threads, budget, device), and `seed`.

    Returns:
        A record whose `spec` is None.

    Raises:
        UpbenchError: when a key is wrong, or the module cannot be called so.
    """
    seed = measure.pop("seed", 0)
    if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors):
        raise SpecError(["a module is profiled on tensors; write upbench.profile(module, x)"])
    spec = _described(module, tensors, seed, measure)
    given = _copied(module)
    found = measurement.measure(
        [spec], [lambda device, watch: _HandedIn(given, tensors, spec, device, watch)], lambda what, part: None
    )
    (one,) = found.measured
    return Record(
        label=spec.label,
        spec=None,
        runtime=one.work.runtime,
        backends=one.work.backends or None,
        **found.shared,
        **one.fields,
    )


def _copied(module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module)
    except Exception:  # noqa: BLE001 - a module need not be such that it can be copied
        return module


def _described(module: nn.Module, tensors: tuple[Tensor, ...], seed: int, measure: dict[str, Any]) -> RunSpec:
    first = tensors[0]
    channels, height, width = (max(size, 1) for size in (*first.shape[1:], 1, 1, 1)[:3])
    dtype = str(first.dtype).removeprefix("torch.")
    inputs = InputSpec(shape=(channels, height, width), seed=seed)
    if dtype in run_spec.DTYPES:
        inputs = inputs.model_copy(update={"dtype": dtype})
    if unknown := [key for key in measure if key not in MeasureSpec.model_fields]:
        known = ", ".join(("seed", *MeasureSpec.model_fields))
        raise SpecError([f"{key}: unknown option of a module that is handed in; known: {known}" for key in unknown])
    measure.setdefault("device", "cpu" if first.device.type == "cpu" else str(first.device))
    return _Spec(
        upsampler=type(module).__name__,
        channels=inputs.shape[0],
        guide_channels=None,
        scale=1,
        params={},
        input=inputs,
        measure=run_spec.load({"upsampler": "nearest", "measure": measure}, "profile").measure,
    )
