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
    """The spec that the instruments need of a module which no spec describes; it never stands in a record."""

    @property
    def card(self) -> Card:
        """A card without parameters and closed forms."""
        return Card(self.upsampler, "", "", None, scales="any", origin="a module that was handed in")

    @property
    def label(self) -> str:
        """The name of the module's class."""
        return self.upsampler


class _HandedIn(Case):
    """The case of a module instance and the tensors that it is called with."""

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
        """Raise RunError unless the module returned one tensor; warn of values that are not finite."""
        if not isinstance(out, Tensor):
            raise RunError(f"{self.spec.label} returned {type(out).__name__}, but must return one tensor")
        if out.is_floating_point() and output.not_finite(out):
            self.warnings.append(
                "the output has values that are not finite; times and memory stand, the result does not"
            )


@isolation.isolated()
def profile(module: nn.Module, tensors: tuple[Tensor, ...], **measure: Any) -> Record:
    """Measure a module on the tensors it is given. A copy is measured where the module can be copied.

    Args:
        module: Called as module(*tensors); returns one tensor.
        tensors: The inputs of one call.
        measure: Keys of `measure` in a spec (mode, threads, budget, device), and `seed`.

    Returns:
        A record whose `spec` is None.

    Raises:
        UpbenchError: If a key is wrong, or the module cannot be called with these tensors.
    """
    seed = measure.pop("seed", 0)
    if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors):
        raise SpecError(["a module is profiled on tensors; write upbench.profile(module, x)"])
    spec = _described(module, tensors, seed, measure)
    given = _copied(module)
    result = measurement.measure(
        [spec], [lambda device, watch: _HandedIn(given, tensors, spec, device, watch)], lambda what, part: None
    )
    (measured,) = result.measured
    return Record(
        label=spec.label,
        spec=None,
        runtime=measured.work.runtime,
        **measured.work.choices(),
        **result.shared,
        **measured.fields,
    )


def _copied(module: nn.Module) -> nn.Module:
    """Return a deep copy of a module, or the module itself where it cannot be copied."""
    try:
        return copy.deepcopy(module)
    except Exception:  # noqa: BLE001 - a module need not be such that it can be copied
        return module


def _described(module: nn.Module, tensors: tuple[Tensor, ...], seed: int, measure: dict[str, Any]) -> RunSpec:
    """Return the spec of a module, whose channels and shape are those of its first input."""
    first = tensors[0]
    channels, height, width = (max(size, 1) for size in (*first.shape[1:], 1, 1, 1)[:3])
    dtype = str(first.dtype).removeprefix("torch.")
    inputs = InputSpec(shape=(channels, height, width), seed=seed)
    if dtype in run_spec.DTYPES:
        inputs = inputs.model_copy(update={"dtype": dtype})
    if unknown := [key for key in measure if key not in MeasureSpec.model_fields]:
        known = ", ".join(("seed", *MeasureSpec.model_fields))
        raise SpecError([f"{key}: unknown option of a module that is handed in; known: {known}" for key in unknown])
    if "allocator" in measure:
        raise SpecError(
            ["allocator: a module that is handed in is measured in this process, whose malloc cannot be pinned"]
        )
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
