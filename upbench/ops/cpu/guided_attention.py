"""SAPA-D's attention together with the query and the points that it is made of, on the CPU, without gradients.

The C kernel projects the guide and moves the points of a tile of output pixels at a time: nothing of the output's size is
held but the result. Without it the same is made of a product of matrices, `offset_points` and `attention`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops.cpu import attention, layer_numbers, native, projection, window_kernels
from upbench.ops.cpu.products import HAS_TILES, pointwise, slow_products
from upbench.ops.cpu.reassembly import can_project, project_fused
from upbench.ops.cpu.value_slices import value_slices
from upbench.ops.fused_limits import can_fuse_attention
from upbench.ops.memory_layout import empty_map, rows_last
from upbench.ops.offsets import offset_points
from upbench.ops.registration import LIBRARY, declare, numel

NAME = "guided_attend_fused"
LIBRARY.define(
    f"{NAME}(Tensor x, Tensor keys, Tensor guide, Tensor weight, Tensor? bias, Tensor offsets, int scale, int heads)"
    " -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
guided_attend_fused: Any = torch.ops.upbench.guided_attend_fused.default


def _charge(shapes: Sequence[Sequence[int]], args: Sequence[Any]) -> dict[str, int]:
    """MACs of each plain op that it stands for, from the shapes of x, keys, guide, weight, bias if any, offsets, output."""
    (depth, inner), (groups, taps), out = shapes[3][:2], shapes[-2][5:], shapes[-1]
    query, points = [out[0], depth, *out[2:]], [out[0], groups, taps, *out[2:], 2]
    attended = attention.charge([*shapes[:2], query, points, out], ["zeros", args[-1], None])
    return attended | {"aten::_convolution": numel(query) * inner, "aten::add": numel(points)}


declare(NAME, "gather", _charge)


def attend(
    x: Float[Tensor, "B C H W"],
    keys: Float[Tensor, "B d H W"],
    guide: Float[Tensor, "B Cy {scale}*H {scale}*W"],
    weight: Float[Tensor, "d Cy 1 1"],
    bias: Float[Tensor, " d"] | None,
    offsets: Float[Tensor, "B H W spread 2 G P"],
    scale: int,
    heads: int,
) -> Float[Tensor, "B C {scale}*H {scale}*W"]:
    """Attend from a projected guide to points that are offsets away from each output pixel's parent.

    Args:
        x: the low-resolution map of values.
        keys: the low-resolution map of keys.
        guide: the high-resolution guide.
        weight: kernel of the 1x1 convolution that makes the guide a query.
        bias: its bias, or None.
        offsets: (x, y) in low-resolution pixels of each of scale^2 children, or of all alike (spread 1).
        scale: output pixels per low-resolution pixel.
        heads: attention heads.

    Returns:
        The weighted sums, channels-last.
    """
    if native.can_run_native(x, keys, guide, weight, offsets):
        points = native.Moved(offsets, scale, guide, layer_numbers.layer(weight, bias, x.dtype), x.dtype)
        return native.attend_guided(value_slices(x, math.lcm(points.groups, heads)), keys, points, heads)
    if window_kernels.can_run_native(guide, weight):
        projected = projection.project(guide, weight, bias)
    else:
        projected = pointwise(guide.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
    if native.can_run_native(x, keys, guide, weight, offsets, half=True):
        points = native.Moved(offsets, scale, None, None, torch.float32)
        blocks = math.lcm(points.groups, heads)
        return native.attend_guided(value_slices(x, blocks), keys, points, heads, projected)
    return attention.attend(x, keys, projected, None, offset_points(offsets, scale), "zeros", heads, None)


def keys_and_offsets(
    normed: Float[Tensor, "B C H W"], key: nn.Conv2d, offset: nn.Conv2d, groups: int, children: int
) -> tuple[Float[Tensor, "B d H W"], Float[Tensor, "B H W {children} 2 {groups} P"]]:
    """Project the low-resolution map to keys and offsets.

    Args:
        normed: the map after its norm.
        key: 1x1 convolution to the keys.
        offset: 1x1 convolution to the offsets, in the order of released weights.
        groups: groups of channels with points each.
        children: sub-pixels with offsets of their own, 1 for none.

    Returns:
        The keys, channels-last, and the offsets (x, y) of every child, group and point.
    """
    b, _, h, w = normed.shape
    count = offset.out_channels
    # Released channels are (group, point, (x, y), sub-pixel): taken as (sub-pixel, (x, y), group, point) here.
    order = torch.arange(count, device=normed.device).view(-1, 2, children).permute(2, 1, 0).flatten()
    weight = torch.cat((key.weight, offset.weight[order])).flatten(1)
    bias = None
    if key.bias is not None and offset.bias is not None:
        bias = torch.cat((key.bias, offset.bias[order]))
    own = native.adds_products() and not HAS_TILES
    onednn = normed.dtype == torch.bfloat16 and not slow_products(normed) and not own
    if can_fuse_attention(normed, weight) and not onednn and can_project(key, normed):
        # Planes are read as they lie, and keys that lie together are read faster. With gradients, and where it has products of
        # bfloat16 that the kernels lack, oneDNN is faster.
        biases = (key.bias, None if bias is None else bias[key.out_channels :])
        parts = zip(weight.split((key.out_channels, count)), biases, strict=True)
        keys, moves = (project_fused(normed, part[..., None, None], its).permute(0, 2, 3, 1) for part, its in parts)
    else:
        rows = pointwise(rows_last(normed).permute(0, 2, 3, 1), weight, bias).view(b, h, w, key.out_channels + count)
        keys, moves = rows.split((key.out_channels, count), dim=3)
    return keys.permute(0, 3, 1, 2), moves.unflatten(3, (children, 2, groups, count // (2 * groups * children)))


@torch.library.register_fake(f"upbench::{NAME}", lib=LIBRARY)
def _(x: Tensor, keys: Tensor, guide: Tensor, *others: Any) -> Tensor:
    return empty_map(x, *x.shape[:2], *guide.shape[2:])


LIBRARY.impl(NAME, attend, "CPU")
