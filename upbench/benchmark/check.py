"""Checks outputs and gradients before timing: no speed is reported for an upsampler whose output is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from upbench.benchmark.case import INPUTS, Case, ShapeError
from upbench.benchmark.checked import Check as Check
from upbench.benchmark.checked import Checked as Checked
from upbench.benchmark.workload import explained
from upbench.machine import environment
from upbench.measure import clock
from upbench.measure import output as measured
from upbench.measure.output import comparable, not_finite
from upbench.records.record import Output
from upbench.specs.run_spec import RunSpec
from upbench.user_code import isolation

TOLERANCES = {
    "float64": (1e-10, 1e-9),
    "float32": (1e-4, 1e-3),
    "float16": (1e-2, 3e-2),
    "bfloat16": (5e-2, 1e-1),
    "autocast-float16": (1e-2, 3e-2),
    "autocast-bfloat16": (5e-2, 1e-1),
}
"""Dtype -> largest difference between two ways to compute the same, forward and backward, as a part of the largest value."""

JUMP = 0.5
"""Largest difference of a gradient that samples make which rounding moves across a pixel, as a part of its largest value."""

Progress = Callable[[str, float], None]
"""Function that is told what is being done, and the part of the whole that is done, 0 to 1."""


@isolation.isolated()
def check(specs: Sequence[RunSpec], like: RunSpec | None, progress: Progress = lambda what, part: None) -> Checked:
    """Check the outputs of upsamplers: shape, finite values, repetition, and agreement with a second implementation.

    The fused backend is compared with the plain one, outputs and gradients. A user's module is compared with the upsampler
    `like`, after it was given its weights. Modules run in evaluation mode; GPUs run without TF32, whose rounding exceeds the
    tolerances.

    Args:
        specs: The specs.
        like: Spec of the upsampler that every `package.module:Class` must equal; None for no such check.
        progress: Called with what is being done, and the part that is done, 0 to 1.

    Returns:
        The results of all checks.

    Raises:
        UpbenchError: If an upsampler cannot be built, or a call raises.
    """
    found = Checked()
    for n, spec in enumerate(specs):
        progress(f"{spec.label}: checking", n / len(specs))
        with environment.with_threads(spec.measure.threads), environment.full_precision():
            _one(spec, like, found)
    return found


@isolation.isolated()
def output(spec: RunSpec, device: torch.device) -> Output | None:
    """Describe what a call returns in the mode in which it will be measured.

    Args:
        spec: The spec.
        device: Device to run on.

    Returns:
        The output, see `Case.repeated_output`.
    """
    return Case(spec, device, clock.clock_for(device)).repeated_output()


def _one(spec: RunSpec, like: RunSpec | None, found: Checked) -> None:
    def say(name: str, passed: bool, detail: str) -> bool:
        found.checks.append(Check(spec.label, name, passed, detail))
        return passed

    try:
        case = _case(spec)
        out, again = _twice(case)
    except ShapeError as error:
        say("shape", False, str(error))
        return
    say("shape", True, " and ".join(str(list(gradient.shape)) for gradient in case.output_gradients()))
    broken = not_finite(out)
    if not say(
        "finite",
        broken == 0,
        f"{broken} of {out.numel()} values of the output are not finite" if broken else "every value is finite",
    ):
        return
    forward_limit, backward_limit = TOLERANCES[spec.input.dtype]
    if _equal(out, again):
        say("repeat", True, "a second call returns the same bits")
    else:
        found.unrepeatable.add(spec.label)
        passed, detail = _within(_distance(again, out), forward_limit, "a second call on the same input")
        if case.written:
            detail += (
                f"; the first call writes to its input {' and '.join(case.written)}, which the second then reads: "
                "let it write to a copy"
            )
        say("repeat", passed, detail)
    if set(case.backends.values()) - {"eager"}:
        plain = _case(_with(spec, backend="eager"))
        ran = ", ".join(f"{op} {backend}" for op, backend in case.backends.items())
        passed, detail = compare_tensors(out, _forward(plain), forward_limit, "the output of the plain form")
        say("backend forward", passed, f"{detail} ({ran})")
        say("backend backward", *_gradients(spec, backward_limit))
    if like is not None and ":" in spec.upsampler:
        say(f"like {like.label}", *_like(case, like, forward_limit))


def _gradients(spec: RunSpec, limit: float) -> tuple[bool, str]:
    """Compare the gradients of inputs and parameters by the fused and by the plain form.

    The gradient of bilinear reading jumps at pixels. With offsets at initialisation samples may fall right on them; there
    the comparison draws trained offsets. Of a million samples some fall so close to one that in float32 rounding decides
    which side is taken; where the forms disagree for that reason, they agree in float64.

    Returns:
        Whether they agree, and the clause that says so.
    """
    if spec.input.offsets == "init":
        spec = _with(spec, offsets="trained")
    worst, where = _apart(spec)
    what = "the gradients of the plain form"
    if limit < worst < JUMP and spec.input.dtype == "float32":
        exact, of = _apart(_with(spec, dtype="float64"))
        if exact <= TOLERANCES["float64"][1]:
            return True, (
                f"{exact:.2g} of the largest value from {what} in float64 (worst: {of}); {worst:.2g} in float32, where "
                f"rounding moves samples across pixels"
            )
    return _within(worst, limit, f"{what} (worst: {where})")


def _apart(spec: RunSpec) -> tuple[float, str]:
    """Return the largest difference of the gradients of the two forms, and the tensor that has it.

    Differences are parts of the largest value of the tensor; inf where only one form has a gradient. A parameter that cancels
    out (ReSFU's shift of a norm, before it takes differences) has a gradient of rounding alone: where others are a thousand
    times as large, its own size is no scale.
    """
    sides = [_backward(_case(_with(spec, backend=backend))) for backend in ("auto", "eager")]
    largest = max((float(g.abs().max()) for name, g in sides[1] if g is not None and name not in INPUTS), default=0.0)
    worst, where = 0.0, "x"
    for (name, fused), (_, plain) in zip(*sides, strict=True):
        if (fused is None) != (plain is None):
            return float("inf"), f"{name}, to which only one of them gives a gradient"
        if (
            fused is not None
            and plain is not None
            and (apart := _distance(fused, plain, 0.0 if name in INPUTS else largest / 1000)) > worst
        ):
            worst, where = apart, name
    return worst, where


def _like(case: Case, like: RunSpec, limit: float) -> tuple[bool, str]:
    """Return whether a user's module with the weights of the reference returns what the reference returns."""
    reference = _case(like)
    try:
        case.plain.load_state_dict(reference.plain.state_dict())
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]]
        return False, f"its state dict is not that of {like.label}: {' '.join(lines)}"
    return compare_tensors(_forward(case), _forward(reference), limit, f"the output of {like.label}")


def _case(spec: RunSpec) -> Case:
    """Build a spec in the form in which it is checked: in evaluation mode, not compiled."""
    device = environment.resolve_device(spec.measure.device)
    return Case(_with(spec, mode="inference", compile="off", runtime=None), device, clock.clock_for(device))


def _with(spec: RunSpec, offsets: str | None = None, dtype: str | None = None, **measure: str | None) -> RunSpec:
    """Return the spec with other keys of `measure`, other offsets, or in another dtype."""
    given = {key: value for key, value in (("offsets", offsets), ("dtype", dtype)) if value is not None}
    changes = {
        "measure": spec.measure.model_copy(update=measure),
        "input": spec.input.model_copy(update=given),
    }
    return spec.model_copy(update=changes)


def _forward(case: Case) -> Tensor:
    with explained(case.spec), case.guarded():
        return measured.joined(case.forward())


def _twice(case: Case) -> tuple[Tensor, Tensor]:
    """Return the outputs of two calls in a row: in evaluation mode neither chance nor the first call may change the second."""
    out = _forward(case).clone()  # a module may return the same tensor again
    with explained(case.spec), case.guarded(again=True):
        return out, measured.joined(case.forward())


def _backward(case: Case) -> list[tuple[str, Tensor | None]]:
    """Return the name and the gradient of every input and parameter, always in the same order."""
    named = [*zip(INPUTS, case.leaf_inputs, strict=False), *case.plain.named_parameters()]
    leaves = [(name, tensor) for name, tensor in named if tensor.requires_grad]
    with explained(case.spec), case.guarded():
        out = measured.maps(case.training_forward())
        found = torch.autograd.grad(out, [t for _, t in leaves], case.output_gradients(), allow_unused=True)
    return [(name, gradient) for (name, _), gradient in zip(leaves, found, strict=True)]


def _distance(found: Tensor, expected: Tensor, least: float = 0.0) -> float:
    """Return the largest difference as a part of the largest expected value.

    Args:
        found: The tensor to judge.
        expected: The tensor to compare with.
        least: Lower bound of the largest expected value.

    Returns:
        The part; inf where shapes differ or a value is NaN.
    """
    if found.shape != expected.shape:
        return float("inf")
    with torch.no_grad():
        found, expected = comparable(found).double(), comparable(expected).double()
        apart = (found - expected).abs().max().item()
        largest = max(least, expected.abs().max().item())
    if apart != apart:
        return float("inf")
    return 0.0 if apart == 0 else apart / largest if largest else float("inf")


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(comparable(a), comparable(b))


def compare_tensors(found: Tensor, expected: Tensor, limit: float, what: str) -> tuple[bool, str]:
    """Compare two outputs.

    Args:
        found: The output to judge.
        expected: The output to compare with.
        limit: Largest accepted difference, as a part of the largest expected value.
        what: Noun phrase for `expected`.

    Returns:
        Whether they agree, and the clause that says so.
    """
    if _equal(found, expected):
        return True, f"{what}, bit for bit"
    return _within(_distance(found, expected), limit, what)


def _within(apart: float, limit: float, what: str) -> tuple[bool, str]:
    """Return whether a difference is within the tolerance, and the clause that says so."""
    return apart <= limit, f"{apart:.2g} of the largest value from {what}; tolerance {limit:g}"
