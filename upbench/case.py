"""A spec made real: the module on its device, its inputs, and the calls that are measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from upbench import inputs, ops, registry
from upbench.errors import UpbenchError
from upbench.errors import first_line as first_line
from upbench.measure import output
from upbench.measure.clock import Clock
from upbench.spec import RunSpec


class RunError(UpbenchError):
    """An upsampler that was built but could not run on its input."""


class ShapeError(RunError):
    """An upsampler whose output has the wrong shape."""


class Case:
    """Builds the module of a spec and its inputs, and calls it once: output shape and finite values are checked.

    plain: the module as built; module: the same, compiled where the spec asks for it. first_call_s: seconds of the
    very first call (a forward), compilation included. backends: op -> the backend that ran, where there is a choice.
    Raises RunError when it cannot be built or called.
    """

    def __init__(self, spec: RunSpec, device: torch.device, clock: Clock) -> None:
        self.spec, self.device = spec, device
        self.warnings: list[str] = []
        training = spec.measure.mode != "inference"
        with explained(spec):
            module = registry.construct(spec.card, spec.setting, spec.input.seed, spec.measure.backend)
            inputs.set_offsets(module, spec)
            module = module.to(device, inputs.dtype_of(spec)).train(training)
            if spec.input.memory_format == "channels_last":
                for weight in module.parameters():
                    if weight.dim() == 4:
                        weight.data = weight.data.contiguous(memory_format=torch.channels_last)
            self.plain: nn.Module = module
            self.module: Any = module
            if spec.measure.compile != "off":
                torch.compiler.reset()
                self.module = torch.compile(module, mode=spec.measure.compile)
            self.inputs = inputs.make(spec, device)
            kept: list[Tensor] = []
            with ops.recorded() as self.backends:
                if self.module is not self.plain:
                    with torch.inference_mode(), self.autocast():  # a compiled module chooses once, while traced
                        self.plain(*self.inputs)
                self.first_call_s = clock.time_s(lambda: kept.append(self.forward()), 1)
        (out,) = kept
        self._check(out)
        self.output = output.describe(out)
        self.output_bytes = out.numel() * out.element_size()
        generator = torch.Generator().manual_seed(spec.input.seed)
        self.output_gradient = torch.randn(out.shape, generator=generator).to(device, out.dtype)
        for tensor in self.inputs:
            tensor.requires_grad_()

    def forward(self) -> Tensor:
        """One call without autograd."""
        with torch.inference_mode(), self.autocast():
            return self.module(*self.inputs)

    def training_forward(self) -> Tensor:
        """One call that records what backward will need."""
        with self.autocast():
            return self.module(*self.inputs)

    def training(self) -> Tensor:
        """Forward and backward with gradients of inputs and parameters, which are dropped; returns the output."""
        out = self.training_forward()
        out.backward(self.output_gradient)
        for tensor in (*self.inputs, *self.plain.parameters()):
            tensor.grad = None
        return out.detach()

    def call(self) -> Callable[[], object]:
        """What the spec's mode measures."""
        mode = self.spec.measure.mode
        if mode == "training-backward":
            return self._backward()
        return {"inference": self.forward, "training": self.training, "training-forward": self.training_forward}[mode]

    def _backward(self) -> Callable[[], object]:
        """Backward alone, again and again through one graph."""
        out = self.training_forward()
        leaves = [t for t in (*self.inputs, *self.plain.parameters()) if t.requires_grad]
        return lambda: torch.autograd.grad(out, leaves, self.output_gradient, retain_graph=True, allow_unused=True)

    def autocast(self) -> AbstractContextManager[object]:
        lowered = inputs.AUTOCAST.get(self.spec.input.dtype)
        return torch.autocast(self.device.type, lowered) if lowered else nullcontext()

    def _check(self, out: object) -> None:
        s = self.spec.setting
        expected = [s.batch, s.channels, s.out_height, s.out_width]
        found = list(out.shape) if isinstance(out, Tensor) else type(out).__name__
        if found != expected:
            raise ShapeError(
                f"{self.spec.label} returned {found}, but an upsampler of scale {s.scale:g} must return {expected}"
            )
        if isinstance(out, Tensor) and not bool(torch.isfinite(out).all()):
            self.warnings.append(
                "the output has values that are not finite; times and memory stand, the result does not"
            )


@contextmanager
def explained(spec: RunSpec) -> Iterator[None]:
    """Turn whatever a module raises into one sentence that names it, its dtype and its shape."""
    try:
        yield
    except UpbenchError:
        raise
    except Exception as error:
        shape = spec.to_dict()["input"]["shape"]
        raise RunError(
            f"{spec.label} failed on {shape} in {spec.input.dtype} on {spec.measure.device}: {first_line(error)}"
        ) from error
