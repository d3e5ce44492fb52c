"""Compares gradients at full size with forwards: a tile that is written to the wrong address shows at once.

For a direction v that is zero outside a mask, the gradient g of L(x) = <f(x), w> must satisfy
<g, v> = (L(x + e v) - L(x)) / e but for the curvature of L. Both sides are sums of a few million terms of random sign, so that a part of the
mask in which g is wrong moves one by the root of its share, while rounding of a forward cancels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from upbench.benchmark.difference import pieces

STEPS, EXACT_STEP = (1e-3, 1e-4), 1e-5
"""Steps e as parts of the root mean square of x: of forwards in the dtype of x, tried in this order, and in float64."""
LIMIT = 0.05
"""Largest difference that counts as rounding, as a part of `Direction.scale`.

One wrong tile of 8x8 in a map of 120x120 causes a larger one under its masks.
"""
DRAWS = 2
"""Draws of the signs of a direction: a wrong part moves the sum by a normal number of its size, which may be near 0."""
STRIP = 2
"""Width in pixels of the strip along an edge."""
TILE = 8
"""Side of a tile of fused forms, in pixels."""

Slope = Callable[[Tensor], float]
"""Function that returns the slope of <f(x), weight> in a direction."""


@dataclass(frozen=True)
class Direction:
    """One directional derivative, computed in two ways.

    Attributes:
        name: Name of the mask.
        gradient: <g, v>, from the gradient.
        forwards: The difference quotient of forwards.
        scale: Norm of g under the mask, the size of <g, v> for random signs v; differences are parts of it.
    """

    name: str
    gradient: float
    forwards: float
    scale: float

    @property
    def agrees(self) -> bool:
        """Whether the gradient is that of the function that the forwards compute."""
        return self.apart <= LIMIT

    @property
    def apart(self) -> float:
        """Difference of the two values as a part of the scale; inf when one is not finite."""
        difference = abs(self.gradient - self.forwards)
        if difference != difference or difference == float("inf"):
            return float("inf")
        return 0.0 if difference == 0 else difference / self.scale if self.scale else float("inf")


def masks(height: int, width: int, device: torch.device | None = None) -> Iterator[tuple[str, Tensor]]:
    """Yield six masks of a map.

    Args:
        height: Rows of the map.
        width: Columns of the map.
        device: Device of the masks.

    Yields:
        Name and mask [H, W]: the interior, the edge strips across and along, the seams of tiles across and along, the
        tile at the end, which may be incomplete.
    """
    rows = torch.arange(height, device=device)[:, None].expand(height, width)
    columns = torch.arange(width, device=device)[None, :].expand(height, width)
    across = (rows < STRIP) | (rows >= height - STRIP)
    along = (columns < STRIP) | (columns >= width - STRIP)
    yield "interior", ~(across | along)
    yield "top and bottom edge", across
    yield "left and right edge", along
    yield "seams of tiles, rows", (rows % TILE == 0) | (rows % TILE == TILE - 1)
    yield "seams of tiles, columns", (columns % TILE == 0) | (columns % TILE == TILE - 1)
    yield "last tile", (rows >= height - TILE) & (columns >= width - TILE)


def compare(
    forward: Callable[[Tensor], Tensor] | None,
    x: Tensor,
    weight: Tensor,
    gradient: Tensor,
    exact: Callable[[Tensor], Tensor] | None = None,
    seed: int = 0,
    value: Tensor | None = None,
) -> list[Direction]:
    """Compute directional derivatives under each mask, from the gradient and from forwards; DRAWS of each.

    One forward is enough where the function is smooth. Where a step moves points across pixels, the derivative jumps
    within it, and where a norm removes most of a step, rounding remains: a derivative that disagrees is taken again with
    a shorter step to both sides, and then in float64, where a much shorter one avoids both.

    Args:
        forward: The function that was differentiated, x: [B, C, H, W] -> [B, C', H', W']; called without autograd. None
            where its dtype is too coarse for any step.
        x: [B, C, H, W], the point at which it was differentiated.
        weight: The gradient of the output, [B, C', H', W'].
        gradient: The gradient of <forward(x), weight> by x, which is to be judged, [B, C, H, W].
        exact: The same function in float64; None where there is none.
        seed: Seed of the signs of the directions.
        value: forward(x) where it is known.

    Returns:
        The derivatives under each mask; those of later draws are left out once one disagrees.
    """
    generator = torch.Generator(x.device).manual_seed(seed)
    size = float(x.detach().square().mean().sqrt()) or 1.0
    found = []
    with torch.no_grad():
        slopes = [*_slopes(forward, x, weight, size, value), *_exact_slope(exact, x, weight, size)]
        # A mask is one for all channels: what is summed over them once serves every mask.
        wide = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
        squares = (wide * wide).sum((0, 1))
        for _ in range(DRAWS):
            signs = torch.randint(0, 2, x.shape, generator=generator, device=x.device, dtype=torch.int8)
            signed = (signs * 2 - 1).to(x.dtype)
            products = (wide * signed).sum((0, 1))
            for name, mask in masks(x.shape[-2], x.shape[-1], x.device):
                one = Direction(name, _sum(products * mask), float("nan"), _sum(squares * mask) ** 0.5)
                found.append(_with_forwards(one, slopes, signed * mask))
            if not all(one.agrees for one in found):
                break
    return found


def _with_forwards(one: Direction, slopes: Sequence[Slope], direction: Tensor) -> Direction:
    """Return a derivative with what forwards say of it: the first that agrees, or else the last."""
    for slope in slopes:
        one = replace(one, forwards=slope(direction))
        if one.agrees:
            break
    return one


def _slopes(
    forward: Callable[[Tensor], Tensor] | None, x: Tensor, weight: Tensor, size: float, value: Tensor | None
) -> Iterator[Slope]:
    """Yield slopes by forwards in the dtype of x: to one side with the longer step, to both sides with the shorter one."""
    if forward is None:
        return
    start = forward(x) if value is None else value
    aligned = torch.empty_like(start).copy_(weight)  # in the memory order of what it is multiplied with
    longer, shorter = (step * size for step in STEPS)
    yield lambda v: _weighted(forward(x + longer * v), start, aligned) / longer
    yield lambda v: _weighted(forward(x + shorter * v), forward(x - shorter * v), aligned) / (2 * shorter)


def _exact_slope(exact: Callable[[Tensor], Tensor] | None, x: Tensor, weight: Tensor, size: float) -> Iterator[Slope]:
    """Yield the slope by forwards in float64."""
    if exact is None:
        return
    step = EXACT_STEP * size

    def slope(v: Tensor) -> float:
        moved = step * v.double()
        return _weighted(exact(x.double() + moved), exact(x.double() - moved), weight.double()) / (2 * step)

    yield slope


def _weighted(end: Tensor, start: Tensor, weight: Tensor) -> float:
    return sum(_sum((a - b).mul_(w)) for a, b, w in pieces(end, start, weight))


def _sum(values: Tensor) -> float:
    """Return the sum of all values, added in float32 where they are of half precision."""
    return float(values.sum(dtype=torch.promote_types(values.dtype, torch.float32)))
