"""The affinity of two filtered and normed features on the CPU, by a C kernel (`csrc/affinities.h`), a norm group at a time.

What is filtered stays in cache until it is summed, so neither feature is ever held whole. Without the kernel
torch's convolutions filter two norm groups at a time: a filter of one input channel leaves most of a vector unit idle; here blocks of neighbouring output pixels are the channels of the
convolution, which multiplies by some zeros and is still several times faster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from upbench.ops.cpu import map_kernels
from upbench.ops.cpu.blocked_filters import filtered, pixels_of, shifted, tile_of
from upbench.ops.registration import LIBRARY, OPS, Op, coordinate_dtype, declare, numel

GROUPS = 2
"""Norm groups that are worked on at a time; the maps of more do not stay in cache."""
POOLED = 16
"""Channels of half precision that are pooled at a time."""

LIBRARY.define("pool_both_fused(Tensor guide, int size) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,))
LIBRARY.define(
    "affinity_fused(Tensor guide, Tensor filters, Tensor scale, Tensor shift, Tensor pattern, int groups, float eps,"
    " float slope) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
LIBRARY.define(
    "affinity_slope_fused(Tensor grad, Tensor guide, Tensor filters, Tensor scale, Tensor shift, Tensor pattern, int groups,"
    " float eps, float slope) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    tags=(torch.Tag.pt2_compliant_tag,),
)
pool_both_fused: Any = torch.ops.upbench.pool_both_fused.default
affinity_fused: Any = torch.ops.upbench.affinity_fused.default
affinity_slope_fused: Any = torch.ops.upbench.affinity_slope_fused.default
"""The gradients of `affinity_fused` in its tensors, from `grad` of its result; see `affinity_slope`."""


def pool_both(
    guide: Float[Tensor, "B C H W"], size: int
) -> tuple[Float[Tensor, "B C {size} {size}"], Float[Tensor, "B C 1 1"]]:
    """Pool a map to size x size and to a point, from one reading of it.

    Args:
        guide: the map.
        size: rows and columns of the grid.

    MACs: those of the three poolings that A2U does: two to the grid, one to the point.
    """
    both = pool_both_fused(guide, size)
    return both[:, :, :-1].unflatten(2, (size, size)), both[:, :, -1:].unsqueeze(3)


def _pool_both(guide: Float[Tensor, "B C H W"], size: int) -> Float[Tensor, "B C {size}**2+1"]:
    """The guide pooled to size x size and, last, to a point."""
    (b, c, height, width), dtype = guide.shape, coordinate_dtype(guide.dtype)
    if height % size or width % size or not guide.is_contiguous():
        grid = F.adaptive_avg_pool2d(guide, size)
        return torch.cat((grid.flatten(2), guide.mean((2, 3)).unsqueeze(2)), 2)
    if (map_kernels.can_widen(guide) or map_kernels.can_run_native(guide)) and guide.numel():
        return map_kernels.pool(guide, size).to(guide.dtype)
    if guide.dtype != dtype and guide.numel() and map_kernels.can_run_native(guide[:, :, :0].to(dtype)):
        # Half precision becomes float32 some channels at a time, which stay in cache.
        parts = [map_kernels.pool(part.to(dtype), size) for part in guide.split(POOLED, 1)]
        return torch.cat(parts, 1).to(guide.dtype)
    # Sums of whole rows first: those run along memory.
    rows = guide.view(b * c, size, height // size, width).sum(2, dtype=dtype)
    grid = rows.view(b, c, size * size, width // size).sum(3) / (height * width // (size * size))
    # Cells of one size: the mean of their means is the mean of all.
    return torch.cat((grid, grid.mean(2, keepdim=True)), 2).to(guide.dtype)


def _norm_(
    maps: Float[Tensor, "C 2 pixels"], scale: Float[Tensor, "C 2"], shift: Float[Tensor, "C 2"], eps: float, groups: int
) -> None:
    """Norm each filter's maps over a group's channels and pixels, in place."""
    channels, _, pixels = maps.shape
    rows = 2 * channels
    # torch's variance is slow; its group norm finds it on the way.
    _, mean, rstd = torch.native_group_norm(maps.view(1, rows, pixels), None, None, 1, rows, pixels, rows, eps)
    mean, variance = (t.view(groups, -1, 2) for t in (mean, (rstd**-2 - eps).clamp_(min=0)))
    centre = mean.mean(1, keepdim=True)
    spread = (variance + (mean - centre).square_()).mean(1, keepdim=True)
    factor = scale.view_as(mean) * (spread + eps).rsqrt_()
    shift = shift.view_as(mean) - centre * factor
    maps.mul_(factor.view(channels, 2, 1)).add_(shift.view(channels, 2, 1))


def affinity(
    guide: Float[Tensor, "B C iH iW"],
    filters: Float[Tensor, "B 2 k k"],
    scale: Float[Tensor, "C 2"],
    shift: Float[Tensor, "C 2"],
    pattern: Float[Tensor, "B T 1 1"],
    groups: int,
    eps: float,
    slope: float,
) -> Float[Tensor, "B T iH//2 iW//2"]:
    """Compute `ops.affinity_logits` of the guide after two filters at stride 2, group norms and leaky rectifiers.

    Args:
        guide: the high-resolution map.
        filters: the two filters of each sample.
        scale: factors of the two norms.
        shift: shifts of the two norms.
        pattern: T numbers of each sample.
        groups: groups of the norms.
        eps: of the norms.
        slope: of the rectifiers below zero.

    Returns:
        The logits.
    """
    dtype = coordinate_dtype(guide.dtype)
    filters, scale, shift = (t.to(dtype).contiguous() for t in (filters, scale, shift))
    h, w = guide.shape[2] // 2, guide.shape[3] // 2
    out = guide.new_empty((guide.shape[0], pattern.shape[1], h, w))
    even = guide.shape[2] % 2 == guide.shape[3] % 2 == 0
    sums = _sums_native if even and map_kernels.can_run_native(filters) else _sums
    for image, one in enumerate(guide):
        total = sums(one, filters[image], scale, shift, groups, eps, slope)
        out[image] = total * (pattern[image].to(dtype) * guide.shape[1] ** -0.5)
    return out


def _sums_native(
    guide: Float[Tensor, "C iH iW"],
    filters: Float[Tensor, "2 k k"],
    scale: Float[Tensor, "C 2"],
    shift: Float[Tensor, "C 2"],
    groups: int,
    eps: float,
    slope: float,
) -> Float[Tensor, "H W"]:
    """The products of both features, summed over the channels, by the kernel.

    Half precision becomes float32 a few groups at a time, but for what the kernel reads as it is.
    """
    each = len(guide) // groups
    if map_kernels.can_widen(guide):
        return map_kernels.affinity(guide.contiguous(), filters, scale, shift, groups, eps, slope).sum(0)
    together = groups if guide.dtype == filters.dtype else math.gcd(groups, GROUPS)
    parts = []
    for first in range(0, groups, together):
        part = slice(first * each, (first + together) * each)
        planes = guide[part].to(filters.dtype).contiguous()
        parts.append(map_kernels.affinity(planes, filters, scale[part], shift[part], together, eps, slope))
    return torch.cat(parts).sum(0)


def _sums(
    guide: Float[Tensor, "C iH iW"],
    filters: Float[Tensor, "2 k k"],
    scale: Float[Tensor, "C 2"],
    shift: Float[Tensor, "C 2"],
    groups: int,
    eps: float,
    slope: float,
) -> Float[Tensor, "H W"]:
    """The same by torch's convolution, two groups at a time."""
    c, h, w = len(guide), guide.shape[1] // 2, guide.shape[2] // 2
    size, dtype, tile = filters.shape[-1], filters.dtype, tile_of(h, w)
    together = math.gcd(groups, GROUPS)
    step = c // groups * together
    ones, windows = torch.ones(step, dtype=dtype), shifted(filters, tile)
    total = torch.zeros(h * w, dtype=dtype)
    for start in range(0, c, step):
        part = slice(start, start + step)
        maps = filtered(guide[part], windows, size, tile, dtype).view(step, 2, -1)
        _norm_(maps, scale[part], shift[part], eps, together)
        F.leaky_relu_(maps, slope)
        total.addmv_(maps[:, 0].mul_(maps[:, 1]).t(), ones)
    return pixels_of(total.view(1, -1, 1, 1), tile, (h, w))[0, 0]


def _charge(shapes: Sequence[Sequence[int]], args: Sequence[Any]) -> dict[str, int]:
    """MACs of each plain op that it stands for. shapes: guide, filters, scale, shift, pattern, output."""
    guide, filters, out = shapes[0], shapes[1], shapes[-1]
    values = guide[0] * guide[1] * out[2] * out[3]
    return {
        "aten::_convolution": 2 * filters[-1] ** 2 * values,
        "aten::group_norm": 5 * 2 * values,
        "aten::leaky_relu": 2 * values,
        "upbench::affinity_logits": values + numel(out),
    }


def _charge_pools(shapes: Sequence[Sequence[int]], args: Sequence[Any]) -> dict[str, int]:
    """The guide is pooled to a grid for each of the two filters, and to a point for the pattern."""
    return {"aten::adaptive_avg_pool2d": 3 * numel(shapes[0])}


declare("affinity_fused", "conv", _charge)
OPS["upbench::pool_both_fused"] = Op(
    "upbench::pool_both_fused", "elementwise", lambda shapes, args: 3 * numel(shapes[0]), _charge_pools
)


@torch.library.register_fake("upbench::pool_both_fused", lib=LIBRARY)
def _(guide: Tensor, size: int) -> Tensor:
    return guide.new_empty((guide.shape[0], guide.shape[1], size * size + 1))


@torch.library.register_fake("upbench::affinity_fused", lib=LIBRARY)
def _(
    guide: Tensor, filters: Tensor, scale: Tensor, shift: Tensor, pattern: Tensor, groups: int, eps: float, slope: float
) -> Tensor:
    return guide.new_empty((guide.shape[0], pattern.shape[1], guide.shape[2] // 2, guide.shape[3] // 2))


LIBRARY.impl("pool_both_fused", _pool_both, "CPU")
LIBRARY.impl("affinity_fused", affinity, "CPU")
