"""Fused attention to low-resolution cells: the op, its gradient, and the two methods that are made of it.

Every output pixel attends to a box of cells (`cell_windows`): all of them, a part of the map, or kernel x kernel around its
parent. The weights of a tile of pixels are made, used and forgotten, in forward and anew in backward. Kernels:
`cpu.cell_attention`, and for CUDA `triton.register`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from upbench.ops.cell_windows import cell_ranges
from upbench.ops.dispatch import autocasted
from upbench.ops.double_gradient import recorded_slopes
from upbench.ops.memory_layout import empty_map
from upbench.ops.registration import LIBRARY, numel, register

_ARGUMENTS = "Tensor query, Tensor keys, Tensor x, int heads, int groups, float window, int kernel"
LIBRARY.define(f"cell_attention_fused({_ARGUMENTS}) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,))
LIBRARY.define(
    f"cell_attention_slopes_fused(Tensor grad, {_ARGUMENTS}) -> (Tensor, Tensor, Tensor)",
    tags=(torch.Tag.pt2_compliant_tag,),
)
cell_attention_fused: Any = torch.ops.upbench.cell_attention_fused.default
"""out[p] = sum over the cells q that p sees of weight[p, q] * x[q], each of `groups` groups of channels with the mean of
the weights of its heads; weight = softmax over q of <query[p], keys[q]> / sqrt(d / heads). window, kernel: which cells,
see `cell_windows.cell_ranges`."""
cell_attention_slopes_fused: Any = torch.ops.upbench.cell_attention_slopes_fused.default
"""The gradients of `cell_attention_fused` in query, keys and x."""


@torch.library.register_fake("upbench::cell_attention_fused", lib=LIBRARY)
def _(query: Tensor, keys: Tensor, x: Tensor, heads: int, groups: int, window: float, kernel: int) -> Tensor:
    return empty_map(x, *x.shape[:2], *query.shape[2:])


@torch.library.register_fake("upbench::cell_attention_slopes_fused", lib=LIBRARY)
def _(grad: Tensor, query: Tensor, keys: Tensor, x: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    dquery, dkeys, dx = (empty_map(t, *t.shape) for t in (query, keys, x))
    return dquery, dkeys, dx


def dense(query: Tensor, keys: Tensor, x: Tensor, heads: int, groups: int, window: float, kernel: int) -> Tensor:
    """Compute `cell_attention_fused` with all weights at once, of torch's own ops.

    Args:
        query: [B, D, H', W'], the high-resolution map of queries.
        keys: [B, D, H, W], the low-resolution map of keys.
        x: [B, C, H, W], the low-resolution map of values.
        heads: attention heads; divides D.
        groups: groups of channels of x, each with the mean of the weights of its heads; divides heads and C.
        window: half the side of the window as a part of the map; 0 for all cells or with a kernel.
        kernel: side of the box of cells around the parent; 0 without one.

    Returns:
        [B, C, H', W'].
    """
    seen = []
    for outputs, cells in zip(query.shape[2:], keys.shape[2:], strict=True):
        first, last = (t.to(x.device) for t in cell_ranges(outputs, cells, window, kernel))
        cell = torch.arange(cells, device=x.device)
        seen.append((cell >= first[:, None]) & (cell < last[:, None]))
    mask = (seen[0][:, None, :, None] & seen[1][None, :, None, :]).flatten(2).flatten(0, 1)
    rows, columns = (t.flatten(2).unflatten(1, (heads, -1)) for t in (query, keys))
    logits = (rows.transpose(2, 3) @ columns) * rows.shape[2] ** -0.5
    weights = logits.masked_fill(~mask, -torch.inf).softmax(-1).unflatten(1, (groups, heads // groups)).mean(2)
    values = x.flatten(2).unflatten(1, (groups, -1))
    return (values @ weights.transpose(2, 3)).flatten(1, 2).unflatten(2, (query.shape[2], query.shape[3]))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs[:3])
    ctx.others = inputs[3:]


def _backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    if torch.is_grad_enabled() and any(t.requires_grad for t in (grad, *ctx.saved_tensors)):
        # What is differentiated twice holds all weights: nothing but tests of a layer's smoothness asks for it.
        slopes = recorded_slopes(lambda *given: dense(*given, *ctx.others), ctx.saved_tensors, grad)
        return (*slopes, None, None, None, None)
    return (*cell_attention_slopes_fused(grad, *ctx.saved_tensors, *ctx.others), None, None, None, None)


torch.library.register_autograd("upbench::cell_attention_fused", _backward, setup_context=_keep, lib=LIBRARY)


def kernel_macs(shapes: Sequence[Sequence[int]], args: Sequence[Any]) -> dict[str, int]:
    """Count the MACs of what `cell_attention_fused` stands for, what a release computes and drops included.

    Args:
        shapes: of query, keys, x and output.
        args: heads, groups, window, kernel.
    """
    query, keys, x, out = shapes
    if args[-1]:
        return _dilated_macs([query, keys, x, out], [args[-1]])
    return _averaged_macs([query, keys, x, x, [query[1], query[1]], out], args)


def _averaged_macs(shapes: Sequence[Sequence[int]], args: Sequence[Any]) -> dict[str, int]:
    """MACs of what it stands for, from the shapes of query, keys, x, values, weight and output."""
    query, keys, x, _, weight, _ = shapes
    pairs = query[0] * numel(query[2:]) * numel(keys[2:])
    return {
        "upbench::attention_weights": pairs * query[1],
        "upbench::attention_assemble": pairs * (x[1] + query[1]),
        "aten::mean": pairs * args[0],
        "aten::_convolution": query[0] * numel(query[2:]) * numel(weight),
    }


@register(
    "averaged_attention_fused(Tensor query, Tensor keys, Tensor x, Tensor values, Tensor weight, int heads, float window)"
    " -> Tensor",
    kind="gather",
    macs=lambda shapes, args: sum(_averaged_macs(shapes, args).values()),
    shares=_averaged_macs,
)
def _averaged_attention(
    query: Tensor, keys: Tensor, x: Tensor, values: Tensor, weight: Tensor, heads: int, window: float
) -> Tensor:
    query, keys, x = autocasted(query, keys, x)
    return cell_attention_fused(query, keys, x, heads, 1, window, 0)


def averaged_attention(
    query: Float[Tensor, "B D oH oW"],
    keys: Float[Tensor, "B D H W"],
    x: Float[Tensor, "B C H W"],
    values: Float[Tensor, "B D H W"],
    weight: Float[Tensor, "D D"],
    bias: Float[Tensor, " D"],
    heads: int,
    window: float,
) -> Float[Tensor, "B C oH oW"]:
    """Compute `ops.averaged_attention`. What the release drops is counted and not computed.

    Args:
        query: the projected queries, one per output pixel; heads divides D.
        keys: the projected keys.
        x: the map that is summed.
        values: the projected values, which nothing depends on.
        weight: matrix of the output projection, which nothing depends on.
        bias: bias of the output projection, which nothing depends on.
        heads: attention heads.
        window: 0 for all cells, else half the side of the window as a part of the map.
    """
    return _averaged_attention(query, keys, x, values, weight, heads, window)


def _dilated_macs(shapes: Sequence[Sequence[int]], args: Sequence[Any]) -> dict[str, int]:
    """MACs of what it stands for, from the shapes of query, keys, x and output."""
    taps = args[0] ** 2
    return {
        "upbench::dilated_weights": taps * numel(shapes[0]),
        "upbench::dilated_assemble": taps * numel(shapes[-1]),
    }


@register(
    "dilated_attention_fused(Tensor query, Tensor keys, Tensor x, int kernel, int heads) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: sum(_dilated_macs(shapes, args).values()),
    shares=_dilated_macs,
)
def dilated_attention(
    query: Float[Tensor, "B D oH oW"],
    keys: Float[Tensor, "B D H W"],
    x: Float[Tensor, "B C H W"],
    kernel: int,
    heads: int,
) -> Float[Tensor, "B C oH oW"]:
    """Compute `ops.dilated_attention` at whole ratios, where its cells are the box around each pixel's parent.

    Args:
        query: the query map, one vector per output pixel.
        keys: the key map.
        x: the map that is summed; heads divides C.
        kernel: side of the window in cells, odd, at most H and W.
        heads: attention heads; divides D.
    """
    return cell_attention_fused(*autocasted(query, keys, x), heads, heads, 0.0, kernel)
