"""Compares gradients at full size with two forwards: a tile that is written to the wrong address shows at once.

For a direction v that is zero outside a mask, the gradient g of L(x) = <f(x), w> must satisfy
<g, v> = (L(x + e v) - L(x - e v)) / 2e. Both sides are sums of a few million terms of random sign, so that a part of the
mask in which g is wrong moves one by the root of its share, while rounding of a forward cancels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

STEP, EXACT_STEP = 1e-3, 1e-5
"""Step e as a part of the root mean square of x: of forwards in the dtype of x, and of forwards in float64."""
LIMIT = 0.05
"""Largest difference that counts as rounding, as a part of `Direction.scale`.

One wrong tile of 8x8 in a map of 120x120 causes a larger one under its masks.
"""
STRIP = 2
"""Width in pixels of the strip along an edge."""
TILE = 8
"""Side of a tile of fused forms, in pixels."""


@dataclass(frozen=True)
class Direction:
    """One directional derivative, computed in two ways.

    Attributes:
        name: Name of the mask.
        gradient: <g, v>, from the gradient.
        forwards: The difference quotient of two forwards.
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
    """Yield five masks of a map.

    Args:
        height: Rows of the map.
        width: Columns of the map.
        device: Device of the masks.

    Yields:
        Name and mask [H, W]: the interior, the edge strips across and along, the seams of tiles across and along.
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


def compare(
    forward: Callable[[Tensor], Tensor],
    x: Tensor,
    weight: Tensor,
    gradient: Tensor,
    exact: Callable[[Tensor], Tensor] | None = None,
    seed: int = 0,
) -> list[Direction]:
    """Compute directional derivatives under each mask, from the gradient and from two forwards.

    Where a step moves points across pixels, the derivative jumps within it; and where a norm removes most of a step,
    rounding remains. Much smaller steps in float64 avoid both; they are made where forwards in the dtype of x show a
    difference.

    Args:
        forward: The function that was differentiated, x: [B, C, H, W] -> [B, C', H', W']; called without autograd.
        x: [B, C, H, W], the point at which it was differentiated.
        weight: The gradient of the output, [B, C', H', W'].
        gradient: The gradient of <forward(x), weight> by x, which is to be judged, [B, C, H, W].
        exact: The same function in float64; None where there is none.
        seed: Seed of the signs of the directions.

    Returns:
        The derivative under each mask.
    """
    generator = torch.Generator(x.device).manual_seed(seed)
    size = float(x.detach().square().mean().sqrt()) or 1.0
    height, width = x.shape[-2:]
    found = []

    def slope(function: Callable[[Tensor], Tensor], start: Tensor, direction: Tensor, step: float) -> float:
        change = function(start + step * direction) - function(start - step * direction)
        return _sum(change * weight) / (2 * step)

    with torch.no_grad():
        signs = torch.randint(0, 2, x.shape, generator=generator, device=x.device, dtype=torch.int8)
        signed = (signs * 2 - 1).to(x.dtype)
        # A mask is one for all channels: what is summed over them once serves every mask.
        products, squares = (gradient * signed).sum((0, 1)), (gradient * gradient).sum((0, 1))
        for name, mask in masks(height, width, x.device):
            direction = signed * mask
            one = Direction(
                name,
                _sum(products * mask),
                slope(forward, x, direction, STEP * size),
                _sum(squares * mask) ** 0.5,
            )
            if not one.agrees and exact is not None:
                one = replace(one, forwards=slope(exact, x.double(), direction.double(), EXACT_STEP * size))
            found.append(one)
    return found


def _sum(values: Tensor) -> float:
    """Return the sum of all values, added in float32 where they are of half precision."""
    return float(values.sum(dtype=torch.promote_types(values.dtype, torch.float32)))
