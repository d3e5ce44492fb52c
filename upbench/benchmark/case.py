"""Builds what a spec describes: the module on its device, its inputs, and the calls that are measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from upbench import cards, ops, registry
from upbench.benchmark import inputs, runtimes
from upbench.benchmark.counts import counts_of
from upbench.benchmark.workload import RunError, Workload, explained, reason
from upbench.errors import UpbenchError
from upbench.machine import memory_limit
from upbench.measure import output
from upbench.measure.clock import Clock
from upbench.records.record import Output
from upbench.specs.run_spec import RunSpec
from upbench.user_code import isolation

INPUTS = ("x", "guide", "second_guide")


class ShapeError(RunError):
    """The output of an upsampler has the wrong shape."""


class WrongValues(RunError):
    """Another runtime than torch returned values that are too far off: no speed of it is reported."""


class Case(Workload):
    """One upsampler: builds the module of a spec and its inputs, and calls it once, checking what it returns.

    Attributes:
        module: what is called: `plain`, or what the runtime made of it.
        output: what the first call returned, None where that could not be described.
        gradients: what backward starts from, one tensor for each map of the output.
        resizes: whether it also changes their shape in a way that torch refuses where gradients are taken.
        written: names of the inputs that a call writes to; each call is given copies of them.
        repeats: whether a second call was seen to return the same bits; None where none was made.

    Raises:
        RunError: when the module cannot be built or called, or does not return a tensor.
        ShapeError: when what it returns has another shape than it must have.
    """

    def __init__(self, spec: RunSpec, device: torch.device, clock: Clock) -> None:
        self.spec, self.device = spec, device
        self.warnings: list[str] = []
        self.reasons: dict[str, str] = {}
        self.written: tuple[str, ...] = ()
        self.resizes = False
        self.repeats: bool | None = None
        self._no_autograd: Callable[[], AbstractContextManager[object]] = torch.no_grad
        with explained(spec):
            if reason := runtimes.why_not(spec, device):
                raise RunError(reason)
            self.plain = self._built()
            self.inputs = self.leaf_inputs = self._make_inputs()
            self._prepare_runtime()
            self._call_once(clock)
        for tensor in self.leaf_inputs:
            if tensor.is_floating_point() or tensor.is_complex():
                tensor.requires_grad_()
        if self.backends and spec.measure.mode != "inference":
            self._choose_with_gradients()

    def _choose_with_gradients(self) -> None:
        """Write down what runs where gradients are recorded, which may be another backend than without them."""
        self.reasons.clear()
        with explained(self.spec), ops.recorded(self.reasons) as self.backends, self.guarded():
            self.prepare()
            self.training_forward()

    def _make_inputs(self) -> tuple[Tensor, ...]:
        """Return new inputs of a call."""
        return inputs.make(self.spec, self.device)

    def _prepare_runtime(self) -> None:
        runtime = runtimes.load(self.spec.measure.run_by)
        self.runtime = runtime.name
        with self.guarded():
            self.module: Callable[..., Any] = runtime.prepare(self.plain, self.inputs)
        self.execution = getattr(self.module, "execution", None)
        if (ran := self.execution) is not None and ran.error > ran.limit:
            raise WrongValues(
                f"{self.spec.label} returned values that are {ran.error:.2g} of the largest value off from eager float64 "
                f"(limit {ran.limit:.2g}; precision asked {ran.precision_asked}, in effect {ran.precision})"
            )

    def _built(self) -> nn.Module:
        """Build the module on its device, in its dtype, mode and memory format."""
        spec = self.spec
        if changed := registry.changed_by_import(spec.card):
            self.warnings.append(f"its file changes {', '.join(changed)} when it is imported; that was put back")
        before = isolation.settings()
        isolation.seed_generators(spec.input.seed)
        try:
            module = registry.construct(spec.card, spec.setting, spec.input.seed, spec.measure.backend)
        except (UpbenchError, KeyboardInterrupt):
            raise
        except BaseException as error:  # a user's class may raise anything
            raise RunError(f"{spec.label} cannot be built: {reason(error)}") from error
        finally:
            changed = isolation.put_back(before)
        if changed:
            self.warnings.append(f"its constructor changes {', '.join(changed)}; that was put back")
        inputs.set_offsets(module, spec)
        inputs.cast_to(module, spec, self.device)
        module.train(spec.measure.mode != "inference")
        if spec.input.memory_format == "channels_last":
            for weight in module.parameters():
                if not nn.parameter.is_lazy(weight) and weight.dim() == 4:
                    weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        return module

    def _call_once(self, clock: Clock) -> None:
        """Make the first call, without inference mode: a backward may need the tensors that it keeps in the module."""
        kept: list[Any] = []
        with ops.recorded(self.reasons) as self.backends:
            if self.module is not self.plain:
                with self.guarded(), torch.no_grad(), self.autocast():  # a compiled module chooses once, while traced
                    self.plain(*self.inputs)
                if self.spec.measure.mode == "inference":
                    self.to_inference()  # or it would be compiled once more for that
            versions = [tensor._version for tensor in self.inputs]
            with self.guarded():
                self.first_call_s = clock.time_s(lambda: kept.append(self.forward()), 1)
        (out,) = kept
        if self.execution is not None:
            self.backends = {}
        self._check(out)
        self.output = self.attempt("the output could not be described", lambda: output.describe(out))
        self.output_bytes = output.size_bytes(out)
        self.gradients = self.draw_gradients(out)
        self._notice_writes(versions)
        self._called(out)

    def _called(self, out: Any) -> None:
        """Do what a derived case does with the output of the first call, which is not kept."""

    def draw_gradients(self, out: Any) -> list[Tensor]:
        """Draw the gradients that a backward from an output starts from, one for every map, from the seed of the spec."""
        generator = torch.Generator().manual_seed(self.spec.input.seed)
        return [torch.randn(each.shape, generator=generator).to(self.device, each.dtype) for each in output.maps(out)]

    def _notice_writes(self, versions: Sequence[int]) -> None:
        """Compare the inputs with what they were before the first call, and give later calls copies if they changed."""
        made = self._make_inputs()
        self.written = tuple(
            INPUTS[n] if n < len(INPUTS) else f"tensor {n + 1}"
            for n, (tensor, version, was) in enumerate(zip(self.inputs, versions, made, strict=True))
            if tensor._version != version or tensor.shape != was.shape or not torch.equal(tensor, was)
        )
        if self.written:
            self.leaf_inputs = made
            self.resizes = any(tensor.shape != was.shape for tensor, was in zip(self.inputs, made, strict=True)) and (
                self._fails_to_resize()
            )
            self.prepare()
            if self.resizes:
                said = f"a call resizes its input {' and '.join(self.written)}, which torch refuses where gradients are taken"
                if self.spec.measure.mode != "inference":
                    raise RunError(f"{self.spec.label}: {said}; measure it in mode inference, or mend its forward")
                self.warnings.append(f"{said}: no backward of it can be measured")
            self.warnings.append(
                f"a call writes to its input {' and '.join(self.written)}, which a model that uses the feature elsewhere "
                "would notice; every call was given a copy, whose making is in no number"
            )

    def _fails_to_resize(self) -> bool:
        """Whether a call fails on inputs of which gradients are taken, as one that resizes them does."""
        self.inputs = tuple(tensor.clone().requires_grad_() for tensor in self.leaf_inputs)
        try:
            with torch.no_grad(), self.autocast():
                self.plain(*self.inputs)
        except RuntimeError as error:
            return "resize" in str(error)
        return False

    @property
    def writes(self) -> bool:
        """Whether a call writes to its inputs."""
        return bool(self.written)

    def prepare(self) -> None:
        """Restore the inputs that the spec describes for the next call, where calls write to them."""
        if self.written:
            # To autograd a copy is no leaf, so that a first layer may work in place, as it does in a model.
            leaves = [tensor.detach() for tensor in self.leaf_inputs] if self.resizes else self.leaf_inputs
            self.inputs = tuple(tensor.clone() for tensor in leaves)

    def to_inference(self) -> None:
        """Let every later forward run in inference mode, whose tensors no backward can use.

        A user's module that fails there, as one does that takes gradients itself or computes in other threads, runs
        without autograd instead.
        """
        if self._no_autograd is torch.inference_mode:
            return
        self._no_autograd = torch.inference_mode
        if self.spec.upsampler in cards.builtin() or self.module is not self.plain:
            return
        try:
            with self.guarded():
                self.forward()
        except Exception as error:
            if memory_limit.ran_out(error):
                raise
            self._no_autograd = torch.no_grad
            self.warnings.append(
                f"it fails under torch.inference_mode ({reason(error)}), and was timed under torch.no_grad instead"
            )

    def forward(self) -> Any:
        """Run one call without autograd and return its output: a map, or several."""
        with self._no_autograd(), self.autocast():
            return self.module(*self.inputs)

    def training_forward(self) -> Any:
        """Run one call that records what backward will need, and return its output."""
        with self.autocast():
            return self.module(*self.inputs)

    def output_gradients(self) -> list[Tensor]:
        """Return the gradients that backward starts from, one for every map."""
        return self.gradients

    def counts(self, parts: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """Return what is counted, by name: the fields of a `Record` from `params` to `output`."""
        return counts_of(self)

    def repeated_output(self) -> Output | None:
        """Return the description of the output, without digest where one more call from the same seed returns other bits."""
        if self.repeats:
            return self.output
        again = self.attempt("a second call failed", lambda: output.describe(self.forward()))
        if again is None or self.output is None or again.digest == self.output.digest:
            return self.output
        if not output.are_close(again, self.output):
            self.warnings.append(
                "two calls with the same seed returned different values: it draws from a generator of its own, or keeps "
                "state from call to call; counts and memory are those of one call"
            )
        return self.output.model_copy(update={"digest": None})

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context of the spec's dtype, where that is one of autocast."""
        lowered = inputs.AUTOCAST.get(self.spec.input.dtype)
        return torch.autocast(self.device.type, lowered) if lowered else nullcontext()

    def _check(self, out: object) -> None:
        s, card = self.spec.setting, self.spec.card
        expected = [s.batch, card.output_channels(s), s.out_height, s.out_width]
        many = len(card.outputs)
        must = f"but an upsampler of scale {s.scale:g} must return"
        maps = (out,) if many == 1 else tuple(out) if isinstance(out, tuple | list) and len(out) == many else (None,)
        if not all(isinstance(each, Tensor) for each in maps):
            count = f" of {len(out)}" if isinstance(out, tuple | list | dict) else ""
            kind = "None" if out is None else f"a {type(out).__name__}{count}"
            what = "one tensor of" if many == 1 else f"{many} tensors ({', '.join(card.outputs)}), the first of"
            raise RunError(f"{self.spec.label} returned {kind}, {must} {what} {expected}")
        for each in maps:
            if each.layout != torch.strided:
                layout = str(each.layout).removeprefix("torch.")
                raise RunError(
                    f"{self.spec.label} returned a sparse tensor ({layout}), {must} a dense one of {expected}"
                )
        if list(maps[0].shape) != expected:
            raise ShapeError(f"{self.spec.label} returned {list(maps[0].shape)}, {must} {expected}")
        for each in maps:
            self._check_values(each)

    def _check_values(self, out: Tensor) -> None:
        differentiable = out.is_floating_point() or out.is_complex()
        if not differentiable and self.spec.measure.mode in ("training", "training-backward"):
            raise RunError(
                f"{self.spec.label} returned {output.dtype_name(out)}, of which no gradient can be taken; "
                "measure it in mode inference"
            )
        if not out.is_floating_point():
            self.warnings.append(f"the output is {output.dtype_name(out)}, not floating point")
        elif self._in_other_precision(out):
            self.warnings.append(
                f"the output is {output.dtype_name(out)} where the input is {output.dtype_name(self.inputs[0])}: what comes "
                "next in a model fails or is slowed down by it; let its forward end in `.to(x.dtype)`"
            )
        if self.attempt("the output could not be judged", lambda: output.not_finite(out)):
            self.warnings.append(
                "the output has values that are not finite; times and memory stand, the result does not"
            )

    def _in_other_precision(self, out: Tensor) -> bool:
        """Whether the output has a dtype that neither the input nor autocast accounts for; half may become float32."""
        given = self.inputs[0].dtype
        if self.spec.input.dtype in inputs.AUTOCAST or given.itemsize < 4:
            return out.dtype == torch.float64
        return out.dtype != given
