"""The workload that instruments measure: one upsampler, or all stages of a host with one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from upbench.errors import UpbenchError, first_line
from upbench.machine import environment, memory_limit
from upbench.measure.clock import Prepared
from upbench.records.record import Execution, Output
from upbench.specs.run_spec import RunSpec
from upbench.user_code import isolation

T = TypeVar("T")


class RunError(UpbenchError):
    """An upsampler was built, but could not run on its input."""


class Workload(ABC):
    """A module with its inputs, and the calls of it that are measured.

    Attributes:
        spec: the spec whose label, mode and conditions hold for all of it.
        device: where it runs.
        plain: the module as built, before any runtime has prepared it; its parameters are counted.
        inputs: what the next call is given.
        leaf_inputs: what gradients are taken of; `inputs` themselves, or what they are copied from.
        warnings: what a reader of the record should know.
        output_bytes: bytes of what a forward returns.
        first_call_s: seconds of the very first call (a forward), compilation included.
        runtime: the name of what runs it.
        execution: how another runtime than torch runs it, whose memory torch's allocator does not see; None for torch.
        backends: op -> the backend that ran it, where there is a choice.
        reasons: op -> why the automatic choice was not a backend that can compute it.
        changes: settings of the process that its calls change; they are put back after each call.
        parts: what it consists of, each a workload of its own; none for one upsampler.
        on_step: called before each instrument measures; None for nobody who is told.
    """

    spec: RunSpec
    device: torch.device
    plain: nn.Module
    inputs: tuple[Tensor, ...]
    leaf_inputs: tuple[Tensor, ...]
    warnings: list[str]
    output_bytes: int
    first_call_s: float
    runtime: str
    execution: Execution | None = None
    backends: dict[str, str]
    reasons: dict[str, str]
    changes: tuple[str, ...] = ()
    parts: Sequence[Workload] = ()
    on_step: Callable[[], None] | None = None

    @abstractmethod
    def forward(self) -> Any:
        """Run one call without autograd and return its output."""

    @abstractmethod
    def training_forward(self) -> Any:
        """Run one call that records what backward will need, and return its output."""

    @abstractmethod
    def output_gradients(self) -> Sequence[Tensor]:
        """Return the gradients that backward starts from, one for each tensor that `training_forward` returns."""

    @abstractmethod
    def prepare(self) -> None:
        """Restore the inputs that the spec describes for the next call, where calls write to them."""

    @abstractmethod
    def to_inference(self) -> None:
        """Let every later forward run in inference mode, whose tensors no backward can use."""

    @abstractmethod
    def counts(self, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return what is counted, by name: the fields of a `Record` from `params` to `output`.

        Args:
            parts: The fields of each of its parts.
        """

    @property
    @abstractmethod
    def writes(self) -> bool:
        """Whether a call writes to its inputs."""

    def training(self) -> object:
        """Run forward and backward with gradients of inputs and parameters, drop these, and return the output."""
        outs = self._differentiable()
        torch.autograd.backward(outs, self.output_gradients())
        for tensor in self.leaves():
            tensor.grad = None
        return outs.detach() if isinstance(outs, Tensor) else [out.detach() for out in outs]

    def _differentiable(self) -> Any:
        """Return the output of `training_forward`; raise RunError where no backward can start from it."""
        outs = self.training_forward()
        for out in (outs,) if isinstance(outs, Tensor) else outs:
            if not out.requires_grad:
                raise RunError(
                    f"{self.spec.label} returned a tensor that no gradient can be taken of: its forward detaches it, or "
                    "runs under torch.no_grad or torch.inference_mode; measure it in mode inference"
                )
        return outs

    def choices(self) -> dict[str, Any]:
        """Return which backend computed each op that has a choice, and why the automatic one is not another: fields of a `Record`."""
        return {"backends": self.backends or None, "backend_reasons": self.reasons or None}

    def all_warnings(self) -> list[str]:
        """Return the warnings, those of its parts included."""
        return self.warnings

    def repeated_output(self) -> Output | None:
        """Return the description of the output, without digest where a second call returns other bits; None without one."""
        return None

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context of the spec's dtype, where that is one of autocast."""
        return nullcontext()

    def leaves(self) -> list[Tensor]:
        """Return the inputs and parameters that have a gradient."""
        return [tensor for tensor in (*self.leaf_inputs, *self.plain.parameters()) if tensor.requires_grad]

    def call(self) -> Callable[[], object]:
        """Return the call that the mode of the spec measures. In inference no backward of this workload may follow."""
        mode = self.spec.measure.mode
        self.prepare()
        call: Callable[[], object]
        if mode == "inference":
            self.to_inference()
            call = self.forward
        elif mode == "training-backward":
            call = self._backward()
        else:
            call = self.training if mode == "training" else self.training_forward
        return Prepared(call, self._before, self._after) if self.writes or self.changes else call

    def _backward(self) -> Callable[[], object]:
        """Return a call of backward alone, through one graph that is kept."""
        outs, leaves, gradients = self._differentiable(), self.leaves(), self.output_gradients()
        return lambda: torch.autograd.grad(outs, leaves, gradients, retain_graph=True, allow_unused=True)

    def _before(self) -> None:
        self.prepare()
        self._settings = isolation.settings()

    def _after(self) -> None:
        isolation.put_back(self._settings)

    def inputs_again(self) -> tuple[Tensor, ...]:
        """Seed every generator from the spec, restore the inputs that it describes, and return them."""
        isolation.seed_generators(self.spec.input.seed)
        self.prepare()
        return self.inputs

    @contextmanager
    def guarded(self, again: bool = False) -> Iterator[None]:
        """Run a call as the spec describes it: its inputs, every random draw from its seed, and no setting left changed.

        again: the call goes on from where the last one left inputs and generators.
        """
        before = isolation.settings()
        if not again:
            self.inputs_again()
        try:
            yield
        finally:
            changed = isolation.put_back(before)
            if changed and not self.changes:
                self.changes = tuple(changed)
                self.warnings.append(f"a call changes {', '.join(changed)}; that was put back after each call")

    def attempt(self, failure: str, measure: Callable[[], T]) -> T | None:
        """Let an instrument measure; where it fails, only its own numbers are missing.

        Args:
            failure: the clause that a warning begins with, as "MACs could not be counted".
            measure: runs the instrument, within `guarded`.

        Returns:
            What the instrument finds, or None after a failure.

        Raises:
            Whatever says that memory ran out, which is no failure of an instrument.
        """
        if self.on_step is not None:
            self.on_step()
        try:
            with self.guarded(), _hooks_kept(self.plain):
                return measure()
        except (Exception, SystemExit) as error:  # a user's module may raise anything
            if memory_limit.ran_out(error):
                raise
            self.warnings.append(f"{failure}: {reason(error)}")
            return None


@contextmanager
def explained(spec: RunSpec) -> Iterator[None]:
    """Turn whatever a module raises into one sentence that names it, its dtype and its shape.

    Args:
        spec: The spec of the module.

    Raises:
        RunError: If the module raises.
    """
    try:
        yield
    except (UpbenchError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise failure(spec, error) from error


def failure(spec: RunSpec, error: BaseException) -> RunError:
    """Return the error that says what a module raised.

    Args:
        spec: The spec of the module.
        error: The exception.
    """
    shape, where = spec.to_dict()["input"]["shape"], environment.resolve_device(spec.measure.device)
    return RunError(f"{spec.label} failed on {shape} in {spec.input.dtype} on {where}: {reason(error)}")


def reason(error: BaseException) -> str:
    """Return the message of an error in one line; that of an error of upbench is returned whole."""
    if isinstance(error, UpbenchError):
        return str(error)
    return first_line(error)


@contextmanager
def _hooks_kept(module: nn.Module) -> Iterator[None]:
    """Remove the hooks that a failed instrument leaves on a module, since they would cost time in each call."""
    tables = [
        table
        for layer in module.modules()
        for name in (
            "_forward_hooks",
            "_forward_pre_hooks",
            "_forward_hooks_with_kwargs",
            "_forward_pre_hooks_with_kwargs",
        )
        if isinstance(table := getattr(layer, name, None), dict)
    ]
    before = [dict(table) for table in tables]
    try:
        yield
    finally:
        for table, was in zip(tables, before, strict=True):
            if table.keys() != was.keys():
                table.clear()
                table.update(was)
