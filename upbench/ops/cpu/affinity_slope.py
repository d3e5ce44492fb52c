"""The gradient of `affinity.affinity`, a few norm groups at a time: what is filtered is filtered again and stays in cache.

The filters and their gradients are C kernels (`plane_filters`), or where there are none torch's convolutions (`blocked_filters`).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from upbench.ops import thresholds
from upbench.ops.affinity import affinity_logits, filtered_by_own
from upbench.ops.cpu import map_kernels
from upbench.ops.cpu.affinity import affinity_slope_fused
from upbench.ops.cpu.blocked_filters import BlockFilters
from upbench.ops.cpu.plane_filters import PlaneFilters
from upbench.ops.double_gradient import recorded_slopes
from upbench.ops.registration import LIBRARY, coordinate_dtype

VALUES = 2**19
"""Filtered values that are worked on at a time."""

Slopes = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def affinity_slope(
    grad: Float[Tensor, "B T H W"],
    guide: Float[Tensor, "B C iH iW"],
    filters: Float[Tensor, "B 2 k k"],
    scale: Float[Tensor, "C 2"],
    shift: Float[Tensor, "C 2"],
    pattern: Float[Tensor, "B T 1 1"],
    groups: int,
    eps: float,
    slope: float,
) -> Slopes:
    """Compute the gradients of `affinity.affinity`, whose arguments follow `grad`.

    Args:
        grad: the gradient of the logits.
        guide, filters, scale, shift, pattern, groups, eps, slope: as in `affinity.affinity`.

    Returns:
        Those of guide, filters, scale, shift and pattern.
    """
    (b, c), (h, w) = guide.shape[:2], grad.shape[2:]
    given, dtype = (filters, scale, shift, pattern), coordinate_dtype(guide.dtype)
    grad, filters, scale, shift, pattern = (t.to(dtype) for t in (grad, *given))
    together = _together(groups, 2 * c // groups * h * w)
    step = c // groups * together
    even = guide.shape[2] % 2 == guide.shape[3] % 2 == 0
    filters_of = PlaneFilters if even and map_kernels.can_run_native(filters) else BlockFilters
    dguide = torch.empty_like(guide, memory_format=torch.contiguous_format)
    dfilters, dscale, dshift, dpattern = (torch.zeros_like(t) for t in (filters, scale, shift, pattern))
    for image in range(b):
        both = filters_of(filters[image], h, w)
        passed = both.order((grad[image] * pattern[image]).sum(0) * c**-0.5)
        total = torch.zeros_like(passed)
        for start in range(0, c, step):
            part = slice(start, start + step)
            maps, norm = both.maps(guide[image, part]), (together, eps, slope)
            own, dmaps, down, dover = _part(maps, scale[part].t(), shift[part].t(), passed, norm)
            total += own
            dscale[part] += down.t()
            dshift[part] += dover.t()
            both.guide_slope(dmaps, guide[image, part], dguide[image, part])
        dfilters[image] = both.filter_slope()
        dpattern[image, :, 0, 0] = grad[image].flatten(1) @ both.plane(total).flatten() * c**-0.5
    small = (t.to(like.dtype) for t, like in zip((dfilters, dscale, dshift, dpattern), given, strict=True))
    return dguide, *small  # type: ignore[return-value] # four of them


def _together(groups: int, values: int) -> int:
    """How many groups are worked on at a time, given the filtered values of one: the most that stay in cache, one at least."""
    most = max(thresholds.scaled(VALUES) // max(values, 1), 1)
    return max(n for n in range(1, groups + 1) if groups % n == 0 and n <= most)


def _part(
    maps: Float[Tensor, "2 C pixels"],
    scale: Float[Tensor, "2 C"],
    shift: Float[Tensor, "2 C"],
    passed: Float[Tensor, " pixels"],
    norm: tuple[int, float, float],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The sum over some channels of the products of both maps, normed and rectified, and its gradients in maps, scale and shift."""
    groups, eps, slope = norm
    with torch.enable_grad():
        leaves = [t.detach().contiguous().requires_grad_() for t in (maps, scale, shift)]
        normed = F.group_norm(leaves[0], groups, eps=eps) * leaves[1].unsqueeze(2) + leaves[2].unsqueeze(2)
        both = F.leaky_relu(normed, slope)
        total = (both[0] * both[1]).sum(0)
        slopes = torch.autograd.grad(total, leaves, passed)
    return total.detach(), *slopes  # type: ignore[return-value] # three of them


@torch.library.register_fake("upbench::affinity_slope_fused", lib=LIBRARY)
def _(grad: Tensor, guide: Tensor, *others: Any) -> Slopes:
    return guide.new_empty(guide.shape), *(torch.empty_like(t) for t in others[:4])  # type: ignore[return-value]


LIBRARY.impl("affinity_slope_fused", affinity_slope, "CPU")


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:5])
    ctx.numbers = inputs[5:]


def _backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    tensors = ctx.saved_tensors
    if not torch.is_grad_enabled():
        return *affinity_slope_fused(grad, *tensors, *ctx.numbers), None, None, None
    # What is differentiated twice holds whole maps.
    return *recorded_slopes(lambda *given: plain_affinity(*given, *ctx.numbers), tensors, grad), None, None, None


def plain_affinity(
    guide: Tensor,
    filters: Tensor,
    scale: Tensor,
    shift: Tensor,
    pattern: Tensor,
    groups: int,
    eps: float,
    slope: float,
) -> Tensor:
    """Compute `affinity.affinity`, with its arguments, of torch's own ops."""
    both = [
        F.leaky_relu(F.group_norm(one.contiguous(), groups, scale[:, n], shift[:, n], eps), slope)
        for n, one in enumerate(filtered_by_own(guide, filters))
    ]
    return affinity_logits(both[0], both[1], pattern)


torch.library.register_autograd("upbench::affinity_fused", _backward, setup_context=_keep, lib=LIBRARY)


def _keep_pools(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0])
    ctx.size = inputs[1]


def _pools_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    (guide,) = ctx.saved_tensors
    size, (h, w) = ctx.size, guide.shape[2:]
    grid, point = grad[:, :, :-1].unflatten(2, (size, size)), grad[:, :, -1:].unsqueeze(3) / (h * w)
    if h % size == 0 and w % size == 0:
        cells = grid / (h * w // size**2) + point
        wide = cells[:, :, :, None, :, None].expand(-1, -1, -1, h // size, -1, w // size)
        return wide.reshape(guide.shape), None
    return torch.ops.aten._adaptive_avg_pool2d_backward(grid.contiguous(), guide) + point, None


torch.library.register_autograd("upbench::pool_both_fused", _pools_backward, setup_context=_keep_pools, lib=LIBRARY)
