"""Checks outputs and gradients before timing: no speed is reported for an upsampler whose output is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from upbench import ops
from upbench.benchmark import check_cache, check_cases, gradient_check, ready_cases, rounding, runtimes
from upbench.benchmark.case import Case, ShapeError, WrongValues
from upbench.benchmark.check_cache import KeptCheck, KeptResult
from upbench.benchmark.check_cases import CheckedCase
from upbench.benchmark.checked import Check as Check
from upbench.benchmark.checked import Checked as Checked
from upbench.benchmark.difference import TOLERANCES, are_equal, compare_tensors, part_of_largest, within
from upbench.benchmark.gradient_check import SmallMap
from upbench.benchmark.runtimes.exported import Exported
from upbench.machine import environment
from upbench.measure import clock
from upbench.measure.output import not_finite
from upbench.records.record import Output
from upbench.specs.run_spec import RunSpec
from upbench.user_code import isolation

Progress = Callable[[str, float], None]
"""Function that is told what is being done, and the part of the whole that is done, 0 to 1."""
Say = Callable[[str, bool, str], bool]
"""Function that writes down the name, the result and the detail of a check, and returns the result."""


@isolation.isolated()
def check(
    specs: Sequence[RunSpec],
    like: RunSpec | None,
    progress: Progress = lambda what, part: None,
    cache: bool = True,
    for_measuring: bool = True,
    backward: bool = True,
) -> Checked:
    """Check the outputs of upsamplers: shape, finite values, repetition, and agreement with a second implementation.

    The fused backend is compared with the plain one: outputs at full size, gradients on small maps that reach the same
    branches (see `gradient_check`). A user's module is compared with the upsampler `like`, after it was given its
    weights. Modules run in evaluation mode; GPUs run without TF32, whose rounding exceeds the tolerances.

    Args:
        specs: The specs.
        like: Spec of the upsampler that every `package.module:Class` must equal; None for no such check.
        progress: Called with what is being done, and the part that is done, 0 to 1.
        cache: Whether a result that was kept is used where the same bits are returned (see `check_cache`).
        for_measuring: Whether the modules are kept for `run.compare`, which measures them next (see `ready_cases`).
        backward: Whether gradients are checked, too; where not, no result is kept.

    Returns:
        The results of all checks.

    Raises:
        UpbenchError: If an upsampler cannot be built, or a call raises.
    """
    found = Checked()
    known: list[_Known] = []
    ready_cases.clear()
    for n, spec in enumerate(specs):
        progress(f"{spec.label}: checking", n / len(specs))
        with environment.with_threads(spec.measure.threads):
            tf32 = torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32
            with environment.full_precision():
                case = _one(spec, like, found, cache and backward, backward, known)
            if case is not None and for_measuring and case.spec == spec and (case.device.type == "cpu" or not tf32):
                ready_cases.put(case)
    if not found.passed:
        ready_cases.clear()
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
    case = ready_cases.find(spec, device) or Case(spec, device, clock.clock_for(device))
    return case.repeated_output()


@dataclass(frozen=True)
class _Known:
    """What the checks of a spec found, which are the same whatever runtime runs it.

    Attributes:
        spec: The spec in the form in which it is checked.
        label: Its label.
        checks: The results.
        right: Whether its output is right.
    """

    spec: RunSpec
    label: str
    checks: list[Check]
    right: bool


def _one(
    spec: RunSpec, like: RunSpec | None, found: Checked, cache: bool, backward: bool, known: list[_Known]
) -> Case | None:
    """Check one spec, and return a case of it that may be measured; None where there is none."""

    def say(name: str, passed: bool, detail: str) -> bool:
        found.checks.append(Check(spec.label, name, passed, detail))
        return passed

    asked, case = check_cases.as_checked(spec), None
    same = None if spec.measure.runtime is None else next((one for one in known if one.spec == asked), None)
    if same is None:
        before = len(found.checks)
        case = _torch(spec, like, found, cache, backward, say)
        same = _Known(asked, spec.label, found.checks[before:], case is not None)
        known.append(same)
    else:
        for one in same.checks:
            say(one.name, one.passed, one.detail)
        if same.label in found.unrepeatable:
            found.unrepeatable.add(spec.label)
    if not same.right:
        return None
    return case if spec.measure.runtime is None else _by_runtime(spec, say)


def _torch(
    spec: RunSpec, like: RunSpec | None, found: Checked, cache: bool, backward: bool, say: Say
) -> CheckedCase | None:
    """Check what torch makes of one spec, and return its case; None where it has no right output."""
    try:
        case = check_cases.checked(spec)
    except ShapeError as error:
        say("shape", False, str(error))
        return None
    out = case.read()
    say("shape", True, " and ".join(str(list(gradient.shape)) for gradient in case.output_gradients()))
    broken = not_finite(out)
    sentence = f"{broken} of {out.numel()} values of the output are not finite" if broken else "every value is finite"
    if not say("finite", broken == 0, sentence):
        return None
    limit = TOLERANCES[spec.input.dtype][0]
    if not set(case.backends.values()) - {"eager"}:
        _repeats(case, out, limit, found, say)
    elif not (key := check_cache.key_of(case) if cache else None) or not _kept(key, case, say):
        before = len(found.checks)
        _repeats(case, out, limit, found, say)
        maps = _two_forms(case, out, backward, say)
        if key and case.output is not None and case.output.digest is not None:
            checks = [KeptCheck(name=c.name, passed=c.passed, detail=c.detail) for c in found.checks[before:]]
            digest = gradient_check.digest(maps)
            check_cache.save(key, KeptResult(output=case.output.digest, gradients=digest, checks=checks))
    if like is not None and ":" in spec.upsampler:
        say(f"like {like.label}", *_like(case, like, limit))
    return case


def _by_runtime(spec: RunSpec, say: Say) -> Case | None:
    """Check what a runtime that runs a file returns against eager float64: a fast wrong answer has no speed.

    Returns:
        The case, whose file need not be written once more; None for other runtimes, and where it is wrong.
    """
    if not isinstance(runtimes.load(spec.measure.run_by), Exported):
        return None
    device = environment.resolve_device(spec.measure.device)
    try:
        case = Case(spec, device, clock.clock_for(device))
    except WrongValues as error:
        say("runtime", False, str(error))
        return None
    if (ran := case.execution) is not None:
        detail = f"{ran.error:.2g} of the largest value from eager float64; limit {ran.limit:.2g}"
        say("runtime", True, f"{detail}; precision asked {ran.precision_asked}, in effect {ran.precision}")
    return case


def _kept(key: str, case: CheckedCase, say: Say) -> bool:
    """Say the checks that are kept under a key where the case returns the bits that were checked; else return False."""
    kept = check_cache.load(key)
    if kept is None or case.output is None or case.output.digest != kept.output:
        return False
    if gradient_check.digest(gradient_check.small_maps(case)) != kept.gradients:
        return False
    for one in kept.checks:
        say(one.name, one.passed, f"{one.detail}; kept from an earlier run, which returned the same bits")
    case.repeats = True
    return True


def _repeats(case: CheckedCase, out: Tensor, limit: float, found: Checked, say: Say) -> None:
    """Check that a second call on the same input returns the same."""
    again = case.again()
    case.repeats = are_equal(out, again)
    if case.repeats:
        say("repeat", True, "a second call returns the same bits")
        return
    found.unrepeatable.add(case.spec.label)
    passed, detail = within(part_of_largest(again, out), limit, "a second call on the same input")
    if case.written:
        detail += (
            f"; the first call writes to its input {' and '.join(case.written)}, which the second then reads: "
            "let it write to a copy"
        )
    say("repeat", passed, detail)


def _two_forms(case: CheckedCase, out: Tensor, backward: bool, say: Say) -> list[SmallMap]:
    """Check the fused form against the plain one, and return the small maps on which gradients were compared, if they were."""
    with ops.plain_in_pieces():
        return _compared(case, out, backward, say)


def _compared(case: CheckedCase, out: Tensor, backward: bool, say: Say) -> list[SmallMap]:
    forward_limit, backward_limit = TOLERANCES[case.spec.input.dtype]
    plain = check_cases.forward(check_cases.bare(case, backend="eager"))
    passed, detail = compare_tensors(out, plain, forward_limit, "the output of the plain form")
    if not passed:
        found = rounding.distances(case, out, plain, part_of_largest(out, plain))
        passed, detail = (found.is_rounding, f"{detail}; {found}") if found else (passed, detail)
    del plain
    ran = ", ".join(f"{op} {backend}" for op, backend in case.backends.items())
    say("backend forward", passed, f"{detail} ({ran})")
    if not backward:
        return []
    maps = gradient_check.small_maps(case)
    say("backend backward", *gradient_check.compare(case, maps, backward_limit))
    return maps


def _like(case: CheckedCase, like: RunSpec, limit: float) -> tuple[bool, str]:
    """Return whether a user's module with the weights of the reference returns what the reference returns."""
    reference = check_cases.checked(like)
    try:
        case.plain.load_state_dict(reference.plain.state_dict())
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]]
        return False, f"its state dict is not that of {like.label}: {' '.join(lines)}"
    expected = check_cases.forward(reference)
    return compare_tensors(check_cases.forward(case), expected, limit, f"the output of {like.label}")
