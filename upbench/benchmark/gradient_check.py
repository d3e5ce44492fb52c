"""Compares the gradients of two forms: on small maps that reach all branches, and at full size with forwards."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from upbench.benchmark import directional, reduced_map
from upbench.benchmark.directional import Direction
from upbench.ops import thresholds
from upbench.specs.run_spec import RunSpec

Apart = Callable[[RunSpec], tuple[float, str]]
"""Function that returns the largest difference of the gradients of the two forms of a spec, as a part of the largest
value, and the tensor that has it.
"""


def reduced(spec: RunSpec) -> list[tuple[RunSpec, float]]:
    """Return smaller specs on which gradients are compared instead of a full one.

    Args:
        spec: The spec at full size.

    Returns:
        Each smaller spec, with the number of times that it has fewer pixels. Sizes that break a rule of the upsampler are
        left out; where all do, the spec itself.
    """
    channels, height, width = spec.input.shape
    found = []
    for size in reduced_map.maps(height, width):
        smaller = spec.model_copy(update={"input": spec.input.model_copy(update={"shape": (channels, *size)})})
        if not smaller.card.mistakes(smaller.setting):
            found.append((smaller, reduced_map.pixel_ratio((height, width), size)))
    return found or [(spec, 1.0)]


def worst_on_small_maps(spec: RunSpec, apart: Apart) -> tuple[float, str]:
    """Compare the two forms of a spec on its reduced maps.

    Args:
        spec: The spec at full size.
        apart: Compares the two forms of a spec.

    Returns:
        The largest difference, and the tensor and map that have it.
    """
    worst: tuple[float, str] | None = None
    for smaller, ratio in reduced(spec):
        with thresholds.for_smaller_maps(ratio):
            value, where = apart(smaller)
        if ratio != 1:
            where += f" at {smaller.input.shape[1]}x{smaller.input.shape[2]}"
        if worst is None or value > worst[0] or value != value:
            worst = value, where
    assert worst is not None, "there is always one map"
    return worst


def directions(
    module: nn.Module, inputs: Sequence[Tensor], weight: Tensor, gradients: Sequence[Tensor | None]
) -> list[tuple[int, Direction]]:
    """Compute directional derivatives at full size for each input that has a gradient.

    Args:
        module: Called as module(*inputs).
        inputs: x and, where there is one, the guide.
        weight: The gradient of the output from which `gradients` were computed, [B, C, H', W'].
        gradients: Gradient of each input; None for an input that has none.

    Returns:
        Pairs of the number of the input and the derivative under one mask.
    """
    exact = _exact(module)
    found = []
    for n, gradient in enumerate(gradients):
        if gradient is None:
            continue

        def with_(moved: Tensor, called: nn.Module, n: int = n) -> Tensor:
            return called(*(moved if m == n else given.detach().to(moved.dtype) for m, given in enumerate(inputs)))

        x = inputs[n].detach()
        in_double = partial(with_, called=exact) if exact is not None else None
        found += [
            (n, one) for one in directional.compare(partial(with_, called=module), x, weight, gradient, in_double)
        ]
    return found


def _exact(module: nn.Module) -> nn.Module | None:
    """Return a copy of the module in float64; None for one that cannot be copied."""
    try:
        return copy.deepcopy(module).double()
    except Exception:  # noqa: BLE001 - a user's module need not be one that can be copied
        return None
