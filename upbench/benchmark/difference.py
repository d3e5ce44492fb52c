"""How far two tensors are apart, as a part of the larger one's largest value, and how far two ways to compute may be."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from upbench.measure.output import comparable

TOLERANCES = {
    "float64": (1e-10, 1e-9),
    "float32": (1e-4, 1e-3),
    "float16": (1e-2, 3e-2),
    "bfloat16": (5e-2, 1e-1),
    "autocast-float16": (1e-2, 3e-2),
    "autocast-bfloat16": (5e-2, 1e-1),
}
"""Dtype -> largest difference between two ways to compute the same, forward and backward, as a part of the largest value."""
PIECE = 2**20
"""Values that are subtracted at a time, so that no copy of a whole output is made."""


def are_equal(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors have the same dtype, shape and values."""
    return a.dtype == b.dtype and torch.equal(comparable(a), comparable(b))


def part_of_largest(found: Tensor, expected: Tensor, least: float = 0.0) -> float:
    """Return the largest difference as a part of the largest expected value.

    Differences are taken in the dtype of the tensors, piece by piece; the piece that has the largest is taken again in
    float64.

    Args:
        found: The tensor to judge.
        expected: The tensor to compare with.
        least: Lower bound of the largest expected value.

    Returns:
        The part; inf where shapes differ or a value is not finite.
    """
    if found.shape != expected.shape:
        return float("inf")
    apart, largest = 0.0, least
    decisive: tuple[Tensor, Tensor] | None = None
    with torch.no_grad():
        for a, b in pieces(found.detach(), expected.detach()):
            a, b = _subtractable(a, b)
            difference, size = _largest(a - b), _largest(b)
            if not difference < float("inf") or not size < float("inf"):
                return float("inf")
            largest = max(largest, size)
            if difference > apart:
                apart, decisive = difference, (a, b)
        if decisive is not None:
            apart = _largest(decisive[0].double() - decisive[1].double())
    return 0.0 if apart == 0 else apart / largest if largest else float("inf")


def pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield tensors of one shape in pieces of about PIECE values: what is computed of these fits in a cache.

    Args:
        tensors: The tensors.
    """
    first = tensors[0]
    if not first.numel():
        return
    # A map is cut into rows, of which each piece is dense in either memory order.
    dim = first.dim() - 2 if first.dim() >= 3 else 0
    whole = [tensor.unsqueeze(0) for tensor in tensors] if first.dim() == 0 else tensors
    step = max(PIECE * whole[0].shape[dim] // whole[0].numel(), 1)
    yield from zip(*(tensor.split(step, dim) for tensor in whole), strict=True)


def _subtractable(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return two tensors in a dtype in which they can be subtracted."""
    a, b = comparable(a), comparable(b)
    dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    return a.to(dtype), b.to(dtype)


def _largest(values: Tensor) -> float:
    """Return the largest absolute value; NaN where a value is."""
    low, high = torch.aminmax(values)
    return max(-low.item(), high.item()) if low == low else float("nan")


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
    if are_equal(found, expected):
        return True, f"{what}, bit for bit"
    return within(part_of_largest(found, expected), limit, what)


def within(apart: float, limit: float, what: str) -> tuple[bool, str]:
    """Return whether a difference is within the tolerance, and the clause that says so.

    Args:
        apart: The difference, as a part of the largest value.
        limit: The tolerance.
        what: Noun phrase for what was compared with.
    """
    return apart <= limit, f"{apart:.2g} of the largest value from {what}; tolerance {limit:g}"
