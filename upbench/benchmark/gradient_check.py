"""Compares the gradients of two forms: on small maps that reach all branches, and at full size with forwards."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from upbench import ops
from upbench.benchmark import check_cases, directional, reduced_map
from upbench.benchmark.case import INPUTS, Case
from upbench.benchmark.check_cases import with_
from upbench.benchmark.difference import TOLERANCES, part_of_largest, within
from upbench.benchmark.directional import Direction
from upbench.benchmark.workload import explained
from upbench.machine import memory_limit
from upbench.measure import output as measured
from upbench.ops import thresholds
from upbench.specs.run_spec import RunSpec

JUMP = 0.5
"""Largest difference of a gradient that samples make which rounding moves across a pixel, as a part of its largest value."""
OUTPUT = "the output while gradients are recorded"
"""What the maps that a form returned are called."""
FINE = ("float32", "float64")
"""Dtypes in which a step of a directional derivative is not lost in rounding."""


@dataclass(frozen=True)
class Gradients:
    """The gradients of one form, and what it returned while they were recorded, which another kernel may have computed.

    Attributes:
        named: Name and gradient of every input and parameter, always in the same order; None for one without.
        out: The maps of the output.
        start: Gradients that backward started from, one for every map of the output.
        backends: Op -> the backend that ran it.
    """

    named: list[tuple[str, Tensor | None]]
    out: list[Tensor]
    start: list[Tensor]
    backends: dict[str, str]

    def not_finite(self) -> str | None:
        """Return the name of a gradient with a value that is not finite; None where there is none."""
        return next((name for name, g in self.named if g is not None and measured.not_finite(g)), None)


@dataclass(frozen=True)
class SmallMap:
    """The gradients of the fused form on one map.

    Attributes:
        spec: The spec, with the size of the map.
        ratio: Number of times that the full map has as many pixels.
        fused: The gradients.
    """

    spec: RunSpec
    ratio: float
    fused: Gradients

    @property
    def size(self) -> str:
        """Height and width, as they stand in sentences."""
        return "x".join(map(str, self.spec.input.shape[1:]))


def of(case: Case) -> Gradients:
    """Return the gradients of the inputs and parameters of a case.

    Args:
        case: The case.
    """
    with explained(case.spec), case.guarded():
        named = [*zip(INPUTS, case.leaf_inputs, strict=False), *case.plain.named_parameters()]
        leaves = [(name, tensor) for name, tensor in named if tensor.requires_grad]
        with ops.recorded() as backends:
            out = measured.maps(case.training_forward())
        start = case.draw_gradients(out)
        found = torch.autograd.grad(out, [t for _, t in leaves], start, allow_unused=True)
    gradients: list[tuple[str, Tensor | None]] = [(name, g) for (name, _), g in zip(leaves, found, strict=True)]
    return Gradients(gradients, [one.detach() for one in out], start, backends)


def reduced(spec: RunSpec) -> list[tuple[RunSpec, float]]:
    """Return smaller specs on which gradients are compared instead of a full one.

    Args:
        spec: The spec at full size.

    Returns:
        Each smaller spec, with the number of times that it has fewer pixels. Sizes of guides and outputs go with the map.
        Sizes that break a rule of the upsampler are left out; where all do, the spec itself.
    """
    channels, height, width = spec.input.shape
    full = (height, width)
    found = []
    for size in reduced_map.maps(height, width, spec.scale):
        sizes = {
            name: reduced_map.along(getattr(spec.input, name), full, size) for name in ("output_size", "guide_size")
        }
        smaller = with_(spec, {"shape": (channels, *size), **sizes})
        card, setting = smaller.card, smaller.setting
        if not card.mistakes(setting) and not card.size_mistakes(setting):
            found.append((smaller, reduced_map.pixel_ratio(full, size)))
    return found or [(spec, 1.0)]


def small_maps(case: Case) -> list[SmallMap]:
    """Compute the gradients of the fused form on the reduced maps of a case.

    The gradient of bilinear reading jumps at pixels. With offsets at initialisation samples may fall right on them; there
    the comparison draws trained offsets.

    Args:
        case: The case at full size, in its fused form.
    """
    return [_on(case, spec, ratio) for spec, ratio in reduced(_off_the_pixels(case.spec))]


def _off_the_pixels(spec: RunSpec) -> RunSpec:
    return with_(spec, {"offsets": "trained"}) if spec.input.offsets == "init" else spec


def _on(case: Case, spec: RunSpec, ratio: float) -> SmallMap:
    with thresholds.for_smaller_maps(ratio):
        return SmallMap(spec, ratio, of(check_cases.bare(case, spec)))


def digest(maps: Sequence[SmallMap]) -> str:
    """Return the SHA-256 of all gradients of the fused form, and of what it returned.

    Args:
        maps: The maps.
    """
    found = hashlib.sha256()
    for one in maps:
        outputs = [(OUTPUT, out) for out in one.fused.out]
        for name, gradient in [*one.fused.named, *outputs]:
            found.update(f"{one.size} {name} {None if gradient is None else list(gradient.shape)}".encode())
            if gradient is not None:
                values = measured.comparable(gradient).reshape(-1).contiguous().cpu()  # a vector may lie in steps
                found.update(values.view(torch.uint8).numpy().data)
    return found.hexdigest()


def compare(case: Case, maps: Sequence[SmallMap], limit: float) -> tuple[bool, str]:
    """Compare the gradients of the fused and of the plain form.

    On the small maps each with each; at full size those of the fused form with forwards of it. Where the small maps do not
    stand for the full one, since other backends run, or forwards disagree, the two forms are compared at full size.

    Args:
        case: The case at full size, in its fused form.
        maps: The small maps, see `small_maps`.
        limit: Largest accepted difference, as a part of the largest value.

    Returns:
        Whether they agree, and the clause that says so.
    """
    passed, detail = _two_forms(case, maps, limit)
    if not passed or all(one.ratio == 1 for one in maps):
        return passed, detail
    spec = _off_the_pixels(case.spec)
    given = case if spec == case.spec or not hasattr(case.plain, "set_offsets") else check_cases.bare(case, spec)
    full = of(given)
    if broken := full.not_finite():
        return False, f"the gradient of {broken} has values that are not finite"
    same = all(one.fused.backends == full.backends for one in maps)
    count = sum(tensor.requires_grad for tensor in given.leaf_inputs[: len(INPUTS)])
    if same and (found := _slopes(given, full.start, [g for _, g in full.named[:count]])):
        worst = max(one.apart for one in found)
        if worst <= directional.LIMIT:
            return True, f"{detail}; at full size {worst:.1g} from the slopes of {len(found)} forwards"
    del given
    return _two_forms(case, [SmallMap(spec, 1.0, full)], limit)


def _two_forms(case: Case, maps: Sequence[SmallMap], limit: float) -> tuple[bool, str]:
    """Return whether the gradients of the two forms agree on every map, and the clause that says so.

    Of a million samples some fall so close to a pixel that in float32 rounding decides which side is taken; where the
    forms disagree for that reason, they agree in float64.
    """
    worst, where = _worst(case, maps)
    what = "the gradients of the plain form"
    if limit < worst < JUMP and case.spec.input.dtype == "float32":
        exact, of_it = _worst(case, [_on(case, with_(one.spec, {"dtype": "float64"}), one.ratio) for one in maps])
        if exact <= TOLERANCES["float64"][1]:
            return True, (
                f"{exact:.2g} of the largest value from {what} in float64 (worst: {of_it}); {worst:.2g} in float32, where "
                f"rounding moves samples across pixels"
            )
    return within(worst, limit, f"{what} (worst: {where})")


def _worst(case: Case, maps: Sequence[SmallMap]) -> tuple[float, str]:
    """Return the largest difference of the two forms, and the tensor and map that have it."""
    worst, where = -1.0, ""
    for one in maps:
        with thresholds.for_smaller_maps(one.ratio):
            plain = of(check_cases.bare(case, one.spec, backend="eager"))
        apart, name = apart_on(one.fused, plain)
        if apart > worst:
            worst, where = apart, name if one.ratio == 1 else f"{name} at {one.size}"
    return worst, where


def apart_on(fused: Gradients, plain: Gradients) -> tuple[float, str]:
    """Return the largest difference of the gradients of two forms, or of what they returned, and the tensor that has it.

    Differences are parts of the largest value of the tensor; inf where only one form has a gradient. A parameter that cancels
    out (ReSFU's shift of a norm, before it takes differences; all of LDA-AQU's on a map of one pixel, to which every key is the
    same) has a gradient of rounding alone: where others, that of an input included, are a thousand times as large, its own
    size is no scale.

    Args:
        fused: Gradients of the fused form.
        plain: Gradients of the plain form.
    """
    largest = max((float(g.abs().max()) for _, g in plain.named if g is not None and g.numel()), default=0.0)
    worst, where = 0.0, "x"
    for (name, one), (_, other) in zip(fused.named, plain.named, strict=True):
        if (one is None) != (other is None):
            return float("inf"), f"{name}, to which only one of them gives a gradient"
        if one is None or other is None:
            continue
        apart = part_of_largest(one, other, 0.0 if name in INPUTS else largest / 1000)
        if apart > worst:
            worst, where = apart, name
    for one, other in zip(fused.out, plain.out, strict=True):
        apart = part_of_largest(one, other)
        if apart > worst:
            worst, where = apart, OUTPUT
    return worst, where


def _slopes(case: Case, start: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> list[Direction]:
    """Return directional derivatives at full size; none where forwards cannot be made."""
    try:
        with case.guarded(), case.autocast():
            found = directions(
                case.plain,
                case.inputs,
                measured.joined(start),
                gradients,
                fine=case.spec.input.dtype in FINE,
            )
    except Exception as error:
        if memory_limit.ran_out(error):
            raise
        return []
    return [one for _, one in found]


def directions(
    module: nn.Module,
    inputs: Sequence[Tensor],
    weight: Tensor,
    gradients: Sequence[Tensor | None],
    fine: bool = True,
) -> list[tuple[int, Direction]]:
    """Compute directional derivatives at full size for each input that has a gradient.

    Args:
        module: Called as module(*inputs).
        inputs: x and, where there are some, the guides.
        weight: The gradient of the output from which `gradients` were computed, [B, C, H', W'].
        gradients: Gradient of each input; None for an input that has none.
        fine: Whether the dtype of the inputs holds small steps; else forwards run in float64 only.

    Returns:
        Pairs of the number of the input and the derivative under one mask.
    """
    exact = _exact(module)
    given = [tensor.detach() for tensor in inputs]
    value: Tensor | None = None
    found = []
    for n, gradient in enumerate(gradients):
        if gradient is None:
            continue

        def with_moved(called: nn.Module, moved: Tensor, n: int = n) -> Tensor:
            return measured.joined(called(*(moved if m == n else one.to(moved.dtype) for m, one in enumerate(given))))

        forward = partial(with_moved, module) if fine else None
        if forward is not None and value is None:
            with torch.no_grad():
                value = forward(given[n])
        in_double = partial(with_moved, exact) if exact is not None else None
        found += [(n, one) for one in directional.compare(forward, given[n], weight, gradient, in_double, value=value)]
    return found


def _exact(module: nn.Module) -> nn.Module | None:
    """Return a copy of the module in float64; None for one that cannot be copied."""
    try:
        return copy.deepcopy(module).double()
    except Exception:  # noqa: BLE001 - a user's module need not be one that can be copied
        return None
