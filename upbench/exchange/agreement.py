"""How far the output of a file is from the truth, and how far it may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from upbench.errors import UpbenchError
from upbench.exchange.capture import eager_copy, returned
from upbench.ops import plain_in_pieces
from upbench.user_code.isolation import seed_torch

LEAST = 1e-5
"""Error that is always accepted, as a part of the largest value."""
TIMES = 4.0
"""How many times the error of the plain form in the same dtype is accepted."""


@dataclass(frozen=True)
class Truth:
    """What a module should return.

    Attributes:
        tensors: The inputs.
        outputs: The maps that the plain form returns in float64, of the same rounded inputs and weights.
        eager_error: Error of the plain form in the module's own dtype, as a part of the largest value.
    """

    tensors: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    eager_error: float

    @property
    def limit(self) -> float:
        """Largest accepted error, as a part of the largest value."""
        return max(LEAST, TIMES * self.eager_error)

    @property
    def size(self) -> str:
        """Sizes of the inputs, as in "2x64x20x24, 2x64x40x48"."""
        return size_text(self.tensors)

    def judge(self, found: Sequence[Tensor]) -> Agreement:
        """Compare what another runtime returned."""
        return Agreement(self.size, error_of(found, self.outputs), self.limit, self.eager_error)


@dataclass(frozen=True)
class Agreement:
    """One comparison of a runtime's output with the truth.

    Attributes:
        size: Sizes of the inputs.
        error: Largest difference as a part of the largest value; inf for another shape or a value that is not finite.
        limit: Largest accepted error.
        eager_error: Error of the plain form in the same dtype.
    """

    size: str
    error: float
    limit: float
    eager_error: float

    @property
    def passed(self) -> bool:
        """Whether the error is within the limit."""
        return self.error <= self.limit


def size_text(tensors: Sequence[Tensor]) -> str:
    """Write the sizes of tensors, as in "2x64x20x24, 2x64x40x48"."""
    return ", ".join("x".join(map(str, t.shape)) for t in tensors)


def truth(module: nn.Module, tensors: Sequence[Tensor]) -> Truth:
    """Compute what a module should return, in float64, and the error of its plain form in its own dtype.

    Args:
        module: The module, which stays as it is.
        tensors: What it is called with.

    Raises:
        UpbenchError: If it returns numbers that are not finite, from which every file would be as far off as it is.
    """
    with torch.no_grad(), plain_in_pieces():
        exact = called(eager_copy(module, torch.float64), [t.double() if t.is_floating_point() else t for t in tensors])
        plain = called(eager_copy(module), tensors)
    if not all(bool(one.isfinite().all()) for one in (*exact, *plain)):
        raise UpbenchError(
            f"the module itself returns numbers that are not finite at {size_text(tensors)}, so that nothing can be compared "
            "with them; mend its forward"
        )
    return Truth(tuple(tensors), exact, error_of(plain, exact))


def called(module: Any, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Call a module and return its maps; random draws are those of one seed."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        seed_torch(0)
        return returned(module(*tensors))


def error_of(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Return the largest difference as a part of the largest expected value, over all maps; inf where shapes differ.

    Args:
        found: The maps of the file.
        expected: The maps of the module.
    """
    if len(found) != len(expected):
        return float("inf")
    worst = 0.0
    for one, other in zip(found, expected, strict=True):
        if one.shape != other.shape:
            return float("inf")
        apart = float((one.double() - other.double()).abs().max())
        largest = float(other.abs().max())
        if apart != apart:
            return float("inf")
        worst = max(worst, apart / largest if largest else (float("inf") if apart else 0.0))
    return worst
