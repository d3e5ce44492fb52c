"""From specs to records: the one room where the pieces meet."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from upbench import environment, inputs, registry, stats
from upbench.errors import SpecError, UpbenchError
from upbench.measure import clock, latency, macs, memory, params
from upbench.record import Latency, Macs, Memory, Record
from upbench.spec import RunSpec

Progress = Callable[[str, float], None]
"""Called with what is being done and the part of the whole that is done, 0 to 1."""


def _silent(what: str, part: float) -> None:
    return None


class RunError(UpbenchError):
    """An upsampler that was built but could not run on its input."""


@dataclass
class Case:
    """A spec made real: the module, its inputs, and the calls that are measured."""

    spec: RunSpec
    device: torch.device
    module: nn.Module
    inputs: tuple[Tensor, ...]
    output_gradient: Tensor | None = None
    warnings: list[str] = field(default_factory=list)

    def forward(self) -> Tensor:
        """One call without autograd."""
        with torch.inference_mode():
            return self.module(*self.inputs)

    def training(self) -> Tensor:
        """Forward and backward with gradients of inputs and parameters, which are dropped; returns the output."""
        out = self.module(*self.inputs)
        out.backward(self.output_gradient)
        for tensor in (*self.inputs, *self.module.parameters()):
            tensor.grad = None
        return out.detach()

    def call(self) -> Callable[[], Tensor]:
        return self.training if self.spec.measure.mode == "training" else self.forward


def validate(specs: Sequence[RunSpec]) -> None:
    """Build every spec on the meta device, where nothing is computed. Raises SpecError with all that cannot be."""
    found: dict[str, None] = {}
    for device in {spec.measure.device for spec in specs}:
        environment.resolve_device(device)
    for spec in specs:
        try:
            with torch.device("meta"):
                registry.construct(spec.card, spec.setting)
        except UpbenchError as error:
            found[str(error)] = None
        except Exception as error:  # noqa: BLE001 - a user's class may raise anything; it becomes one sentence
            found[f"{spec.label} cannot be built: {_first_line(error)}"] = None
    if found:
        raise SpecError(list(found))


def run(spec: RunSpec, progress: Progress = _silent) -> Record:
    """Measure one spec. Raises UpbenchError when it cannot be built or run."""
    return compare([spec], progress)[0]


def compare(
    specs: Sequence[RunSpec], progress: Progress = _silent, axes: Mapping[str, Any] | None = None
) -> list[Record]:
    """Measure specs side by side: counts and memory one after another, latency in interleaved rounds.

    All specs must agree in device, threads and mode, or their times could not be compared. axes: the grid values of
    a sweep's cell, kept in the record. Raises UpbenchError when one cannot be built or run.
    """
    measure = specs[0].measure
    device = environment.resolve_device(measure.device)
    if any(
        (s.measure.device, s.measure.threads, s.measure.mode) != (measure.device, measure.threads, measure.mode)
        for s in specs
    ):
        raise SpecError(["the upsamplers that are compared must have the same device, threads and mode"])
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    steps = len(specs) * 2 + 2
    with _threads(measure.threads):
        env = environment.capture(device)
        cases: list[Case] = []
        parts: list[dict[str, Any]] = []
        for n, spec in enumerate(specs):
            progress(f"{spec.label}: counting", 2 * n / steps)
            cases.append(prepare(spec, device))
            parts.append(_counts(cases[-1]))
            progress(f"{spec.label}: memory", (2 * n + 1) / steps)
            parts[-1]["memory"] = _memory(cases[-1])
        names = ", ".join(s.label for s in specs)
        share = (steps - 2) / steps
        progress(f"{names}: warm-up", share)
        timings = latency.measure(
            [case.call() for case in cases],
            clock.clock_for(device),
            measure.budget,
            lambda part: progress(f"{names}: latency", share + (1 - share) * part),
        )
    comparison = uuid.uuid4().hex[:12] if len(specs) > 1 else None
    return [
        Record(
            label=case.spec.label,
            spec=case.spec.to_dict(),
            axes=dict(axes or {}),
            started=started,
            comparison=comparison,
            environment=env,
            latency=_latency(case, device, timing),
            warnings=case.warnings + _timing_warnings(timing),
            **part,
        )
        for case, part, timing in zip(cases, parts, timings, strict=True)
    ]


def failed(spec: RunSpec, error: UpbenchError, axes: Mapping[str, Any]) -> Record:
    """The record of a cell that could not be measured."""
    return Record(
        label=spec.label,
        spec=spec.to_dict(),
        axes=dict(axes),
        status="error",
        error=str(error),
        started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        environment=environment.capture(environment.resolve_device(spec.measure.device)),
    )


def prepare(spec: RunSpec, device: torch.device) -> Case:
    """Build the module and its inputs, and call it once: output shape and finite values are checked."""
    dtype = inputs.DTYPES[spec.input.dtype]
    with _explained(spec):
        module = registry.construct(spec.card, spec.setting, spec.input.seed)
        module = module.to(device, dtype).train(spec.measure.mode == "training")
        if spec.input.memory_format == "channels_last":
            module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        case = Case(spec, device, module, inputs.make(spec, device))
        out = case.forward()
    s = spec.setting
    expected = (s.batch, s.channels, s.out_height, s.out_width)
    if not isinstance(out, Tensor) or tuple(out.shape) != expected:
        found = list(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise RunError(
            f"{spec.label} returned {found}, but an upsampler of scale {s.scale:g} must return {list(expected)}"
        )
    if not bool(torch.isfinite(out).all()):
        case.warnings.append("the output has values that are not finite; times and memory stand, the result does not")
    if not spec.card.count_macs:
        case.warnings.append("no closed form is declared for this upsampler; its MACs rest on the counter alone")
    return case


def _counts(case: Case) -> dict[str, Any]:
    """Parameters, buffers and MACs as fields of the record."""
    size = params.count(case.module)
    with _explained(case.spec):
        counted = macs.count(case.module, case.inputs)
    if counted.uncounted:
        listed = ", ".join(f"{name} ({n}x)" for name, n in counted.uncounted.items())
        case.warnings.append(f"not counted in the MACs: {listed}")
    return {
        "params": size.total,
        "params_trainable": size.trainable,
        "buffers": size.buffers,
        "macs": Macs(**counted.by_kind, total=counted.total),
        "macs_by_op": counted.by_op,
        "uncounted": counted.uncounted,
    }


def _memory(case: Case) -> Memory:
    """Peaks of one forward and of one forward with backward."""
    with _explained(case.spec):
        forward = memory.peak_bytes(case.forward, case.device)
        out = case.forward()
        output_bytes = out.numel() * out.element_size()
        for tensor in case.inputs:
            tensor.requires_grad_()
        generator = torch.Generator().manual_seed(case.spec.input.seed)
        case.output_gradient = torch.randn(out.shape, generator=generator).to(out)
        training: int | None = None
        try:
            training = memory.peak_bytes(case.training, case.device)
        except RuntimeError as error:
            if case.spec.measure.mode == "training" or isinstance(error, torch.OutOfMemoryError):
                raise
            case.warnings.append(f"backward could not run: {_first_line(error)}")
    return Memory(
        method=memory.METHODS[case.device.type],
        input_bytes=sum(t.numel() * t.element_size() for t in case.inputs),
        weight_bytes=params.count(case.module).bytes,
        output_bytes=output_bytes,
        forward_peak_bytes=forward,
        training_peak_bytes=training,
    )


def _latency(case: Case, device: torch.device, timing: latency.Timing) -> Latency:
    return Latency(
        mode=case.spec.measure.mode,
        clock=clock.clock_for(device).name,
        first_call_s=timing.first_call_s,
        warmup_calls=timing.warmup_calls,
        calls_per_sample=timing.calls_per_sample,
        samples_per_round=latency.PER_ROUND,
        samples_s=timing.samples_s,
    )


def _timing_warnings(timing: latency.Timing) -> list[str]:
    summary = stats.summarise(timing.samples_s)
    found = []
    if summary.n <= 2 * latency.MIN_ROUNDS:
        found.append(f"only {summary.n} samples fitted the budget; raise --budget for a narrower interval")
    if summary.iqr > 0.1 * summary.median:
        spread = summary.iqr / summary.median
        found.append(f"the machine is noisy (IQR {spread:.0%} of the median); close other programs or raise --budget")
    return found


@contextmanager
def _threads(threads: int | None) -> Iterator[None]:
    """Run with a number of torch threads, and put the old number back."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _explained(spec: RunSpec) -> Iterator[None]:
    """Turn whatever a module raises into one sentence that names it, its dtype and its shape."""
    try:
        yield
    except UpbenchError:
        raise
    except Exception as error:
        shape = spec.to_dict()["input"]["shape"]
        raise RunError(
            f"{spec.label} failed on {shape} in {spec.input.dtype} on {spec.measure.device}: {_first_line(error)}"
        ) from error


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    text = next(itertools.chain(lines, [""]))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
