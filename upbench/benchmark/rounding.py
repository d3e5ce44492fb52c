"""Judges by float64 what two forms of an upsampler differ by, where rounding alone may exceed the tolerance.

With offsets of several pixels the last bit of a predicted position moves a sample by a part of a pixel that is no longer
small: both forms are then further from the exact output than the tolerance, and from each other by less than that. So they
must agree in float64, where the same fault would show ten million times as clearly, and in float32 the fused form must be no
further from the exact output than the plain one is, at its worst value and in the mean square: a fault that only float32 has
adds to one of these.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from upbench import ops
from upbench.benchmark import check_cases
from upbench.benchmark.case import Case
from upbench.benchmark.difference import TOLERANCES, part_of_largest, pieces
from upbench.machine import memory_limit
from upbench.measure import output as measured

WORST, MEAN = 2.0, 1.2
"""How many times as far from the exact output the fused form may be as the plain one, at the worst value (of which each form
has one) and in the root mean square over all (which rounding hardly changes)."""
LARGEST = 0.02
"""Largest difference of the two forms that is put down to rounding, as a part of the largest value."""


@dataclass(frozen=True)
class Distances:
    """How far two forms are from the exact output, as parts of its largest value.

    Attributes:
        fused, plain: The largest difference of each form in float32.
        fused_mean, plain_mean: The root mean square of the differences.
        exact: The largest difference of the two forms in float64.
    """

    fused: float
    plain: float
    fused_mean: float
    plain_mean: float
    exact: float

    @property
    def is_rounding(self) -> bool:
        """Whether rounding explains what the two forms differ by."""
        agree = self.exact <= TOLERANCES["float64"][0]
        return agree and self.fused <= WORST * self.plain and self.fused_mean <= MEAN * self.plain_mean

    def __str__(self) -> str:
        """The clause that says so."""
        return (
            f"in float64 the two forms agree ({self.exact:.1g}); in float32 both round by more than the tolerance: "
            f"{self.fused:.2g} of the largest value from float64, {self.plain:.2g} of the plain form"
        )


def distances(case: Case, fused: Tensor, plain: Tensor, apart: float) -> Distances | None:
    """Return how far the two forms of a case are from float64 of the same weights and inputs.

    Args:
        case: The case in its fused form.
        fused: Its output.
        plain: The output of the plain form.
        apart: What they differ by, as a part of the largest value.

    Returns:
        The distances; None where float64 says nothing: for other dtypes than float32, for what is too far apart, for a
        module that cannot be copied, and where another backend runs in float64.
    """
    if case.spec.input.dtype != "float32" or not apart <= LARGEST:
        return None
    try:
        with ops.recorded() as backends:
            in_double = _in_double(case, case.plain)
        exact = _in_double(case, check_cases.bare(case, backend="eager").plain)
    except Exception as error:
        if memory_limit.ran_out(error):
            raise
        return None
    if backends != case.backends:
        return None
    largest = float(exact.abs().max()) or 1.0
    return Distances(
        part_of_largest(fused, exact),
        part_of_largest(plain, exact),
        _root_mean_square(fused, exact) / largest,
        _root_mean_square(plain, exact) / largest,
        part_of_largest(in_double, exact),
    )


def _in_double(case: Case, module: nn.Module) -> Tensor:
    """Return the output of a module in float64, with the weights and inputs that it has in float32."""
    inputs = [tensor.detach() for tensor in case.inputs_again()]
    exact = copy.deepcopy(module).double()
    with torch.no_grad(), case.guarded():
        return measured.joined(exact(*(one.double() if one.is_floating_point() else one for one in inputs)))


def _root_mean_square(found: Tensor, expected: Tensor) -> float:
    total = sum(float((a.double() - b).square().sum()) for a, b in pieces(found.detach(), expected))
    return float((total / max(expected.numel(), 1)) ** 0.5)
