"""The products that torch.einsum computes, in exact integers, contraction by contraction in the order that runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Contraction:
    """One step of an einsum: two operands become one.

    Args:
        products: Number of multiply-accumulates.
        summed: Whether an index is summed; without one torch multiplies value by value.
        left: Positions of the operands that the first factor is made of.
        right: Positions of the operands that the second factor is made of.
    """

    products: int
    summed: bool
    left: frozenset[int]
    right: frozenset[int]


def contractions(
    equation: str, shapes: Sequence[Sequence[int]], path: Sequence[int] | None = None
) -> tuple[list[Contraction], int]:
    """Return the steps of `torch.einsum(equation, ...)` as ATen takes them, and how many values are summed alone.

    Args:
        equation: Equation as torch.einsum takes it; spaces, an ellipsis, repeated indices and a missing output are allowed.
        shapes: Shape of each operand.
        path: Pairs of positions, one after another, as torch hands an optimised path to ATen; None is left to right.

    Returns:
        The contractions, and the number of values read by sums of one operand alone: of an index that no other
        operand and no output has (ATen sums it before it multiplies), or of an einsum of one operand.
    """
    terms, output = _indices(equation, shapes)
    operands = [
        (frozenset([n]), _sizes(term, shape)) for n, (term, shape) in enumerate(zip(terms, shapes, strict=True))
    ]
    left_over = Counter(index for _, sizes in operands for index, size in sizes.items() if size != 1)
    steps: list[Contraction] = []
    sums = 0
    pairs = list(zip(path[::2], path[1::2], strict=True)) if path else [(0, 1)] * (len(operands) - 1)
    for first, second in pairs:
        (left, a), (right, b) = (operands[n] for n in sorted((first, second)))
        for n in sorted((first, second), reverse=True):
            del operands[n]
        summed = []
        alone: dict[int, list[str]] = {0: [], 1: []}
        for index in sorted({*a, *b} - set(output)):
            in_a, in_b = a.get(index, 1) != 1, b.get(index, 1) != 1
            if in_a and in_b:
                left_over[index] -= 1
                if left_over[index] == 1:
                    summed.append(index)
                    left_over[index] = 0
            elif left_over[index] == 1 and (in_a or in_b):
                left_over[index] = 0
                alone[0 if in_a else 1].append(index)
        for side, own in zip((a, b), alone.values(), strict=True):
            sums += math.prod(side.values()) if own else 0
            side.update(dict.fromkeys(own, 1))
        # Sizes are equal where neither is 1, which broadcasts.
        sizes = {index: b.get(index, 1) if a.get(index, 1) == 1 else a[index] for index in {**a, **b}}
        steps.append(Contraction(math.prod(sizes.values()), bool(summed), left, right))
        made = (left | right, {i: 1 if i in summed else size for i, size in sizes.items()})
        operands.insert(len(operands) if path else 0, made)
    if len(terms) == 1 and any(index not in output for index in operands[0][1]):
        sums += math.prod(operands[0][1].values())
    return steps, sums


def _indices(equation: str, shapes: Sequence[Sequence[int]]) -> tuple[list[list[str]], list[str]]:
    """The indices of every operand and of the output; dimensions under an ellipsis are numbered from the last."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = []
    for text, shape in zip(left.split(","), shapes, strict=True):
        hidden = len(shape) - len(text.replace("...", ""))
        terms.append(_spelled(text, hidden))
    widest = max((sum(index.isdigit() for index in term) for term in terms), default=0)
    if arrow:
        return terms, _spelled(right, widest)
    letters = Counter(index for term in terms for index in term if not index.isdigit())
    once = sorted(index for index, times in letters.items() if times == 1)
    return terms, [*_spelled("...", widest), *once]


def _spelled(text: str, hidden: int) -> list[str]:
    before, dots, after = text.partition("...")
    return [*before, *(str(n) for n in reversed(range(hidden if dots else 0))), *after]


def _sizes(term: Sequence[str], shape: Sequence[int]) -> dict[str, int]:
    """Index -> size; an index that is repeated is a diagonal."""
    return dict(zip(term, shape, strict=True))
