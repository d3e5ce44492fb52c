"""Whole steps around windows on the CPU: each is one op of the C kernels (`window_kernels`).

Weights are never held: the softmax of a pixel's logits, or of its likeness to a window of keys, is taken where they are used,
and a guide is mixed in before a pixel is written. For a gradient nothing is kept but what an op was given: what the upsampled
map meant to the gate is known from dot products that the gradient of the weights takes anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops.cpu import projection, window_kernels
from upbench.ops.dispatch import record
from upbench.ops.fused import (
    gradient_planes,
    gradient_rows,
    window_assemble_fused,
    window_scatter_fused,
    window_similarity_fused,
)
from upbench.ops.memory_layout import empty_map, taps_last
from upbench.ops.registration import LIBRARY, declare, numel

for _signature in (
    "reassemble_fused(Tensor x, Tensor logits, Tensor? guide, Tensor? gate, int kernel, int scale) -> Tensor",
    "attend_window_fused(Tensor query, Tensor keys, Tensor x, int kernel) -> Tensor",
    "project_fused(Tensor x, Tensor weight, Tensor? bias) -> Tensor",
):
    LIBRARY.define(_signature, tags=(torch.Tag.pt2_compliant_tag,))

ROWS = 8
"""Rows of two maps whose product is held at once."""
reassemble_fused: Any = torch.ops.upbench.reassemble_fused.default
attend_window_fused: Any = torch.ops.upbench.attend_window_fused.default
project_fused: Any = torch.ops.upbench.project_fused.default


def reassemble(
    x: Float[Tensor, "B C H W"],
    logits: Tensor,
    guide: Float[Tensor, "B C sH sW"] | None,
    gate: Float[Tensor, "B 1 H W"] | None,
    kernel: int,
    scale: int,
    dtype: torch.dtype,
) -> Float[Tensor, "B C sH sW"]:
    """Compute `ops.reassemble`, with its arguments."""
    record("window_assemble", "fused")
    return reassemble_fused(x, logits, guide, gate, kernel, scale)


def attend_window(
    query: Float[Tensor, "B d sH sW"],
    keys: Float[Tensor, "B d H W"],
    x: Float[Tensor, "B C H W"],
    kernel: int,
    scale: int,
) -> Float[Tensor, "B C sH sW"]:
    """Compute `ops.attend_window`, with its arguments."""
    record("window_similarity", "fused")
    record("window_assemble", "fused")
    return attend_window_fused(query, keys, x, kernel)


def can_project(layer: nn.Conv2d, x: Tensor) -> bool:
    """Return whether the kernels take a pointwise convolution.

    Args:
        layer: the convolution.
        x: its input.
    """
    return window_kernels.can_run_native(x, layer.weight)


def _reassemble_macs(shapes: Sequence[Sequence[int]], args: Sequence[Any]) -> dict[str, int]:
    out, weights = numel(shapes[-1]), numel(shapes[1])
    counts = {"aten::softmax": 3 * weights, "upbench::window_assemble": args[-2] ** 2 * out}
    return counts if len(shapes) == 3 else counts | {"upbench::gate_fuse": 2 * out}


def _attend_macs(shapes: Sequence[Sequence[int]], args: Sequence[Any]) -> dict[str, int]:
    taps, out = args[-1] ** 2, shapes[-1]
    return {
        "upbench::window_similarity": taps * numel(shapes[0]),
        "aten::softmax": 3 * taps * out[0] * numel(out[2:]),
        "upbench::window_assemble": taps * numel(out),
    }


declare("reassemble_fused", "gather", _reassemble_macs)
declare("attend_window_fused", "gather", _attend_macs)
declare("project_fused", "conv", lambda shapes, args: {"aten::linear": numel(shapes[-1]) * shapes[0][1]})


@torch.library.register_fake("upbench::reassemble_fused", lib=LIBRARY)
def _(x: Tensor, logits: Tensor, guide: Tensor | None, gate: Tensor | None, kernel: int, scale: int) -> Tensor:
    return empty_map(x, x.shape[0], x.shape[1], x.shape[2] * scale, x.shape[3] * scale)


@torch.library.register_fake("upbench::attend_window_fused", lib=LIBRARY)
def _(query: Tensor, keys: Tensor, x: Tensor, kernel: int) -> Tensor:
    return empty_map(x, *x.shape[:2], *query.shape[2:])


@torch.library.register_fake("upbench::project_fused", lib=LIBRARY)
def _(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return empty_map(x, x.shape[0], weight.shape[0], *x.shape[2:])


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    tensors = [t for t in inputs if t is None or isinstance(t, Tensor)]
    ctx.save_for_backward(*tensors)
    ctx.numbers = inputs[len(tensors) :]


def _softmax(logits: Tensor) -> Tensor:
    """Softmax over the taps of [B, G, T, H', W'], which lie last in memory before and after."""
    return taps_last(logits).movedim(2, -1).softmax(-1).movedim(-1, 2)


def _softmax_slope(weights: Tensor, grad: Tensor) -> Tensor:
    """The gradient of logits [B, G, T, H', W'] from that of their softmax."""
    return weights * (grad - (weights * grad).sum(2, keepdim=True))


def _dots(left: Tensor, right: Tensor) -> Tensor:
    """Dot products over the channels of two maps: [B, 1, H, W]. Without a gradient a few rows at a time, which stay in cache."""
    if torch.is_grad_enabled():
        return (left * right).sum(1, keepdim=True)
    out = left.new_empty((left.shape[0], 1, *left.shape[2:]))
    for start in range(0, left.shape[2], ROWS):
        rows = slice(start, start + ROWS)
        torch.sum(left[:, :, rows] * right[:, :, rows], 1, keepdim=True, out=out[:, :, rows])
    return out


def _reassemble_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    x, logits, guide, gate = ctx.saved_tensors
    kernel, scale = ctx.numbers
    h, w = x.shape[2:]
    shuffled = logits.dim() == 4
    spread = logits
    if shuffled:
        spread = F.pixel_shuffle(logits, scale)
        spread = spread.unflatten(1, (spread.shape[1] // kernel**2, kernel**2))
    weights = _softmax(spread)
    rows = gradient_rows(grad)
    dots = window_similarity_fused(rows, x, kernel, weights.shape[1])
    dguide = dgate = None
    passed = weights
    if gate is not None:
        share = F.interpolate(gate, scale_factor=scale, mode="nearest")
        if ctx.needs_input_grad[3]:
            apart = _dots(grad, guide) - (weights * dots).sum((1, 2)).unsqueeze(1)
            dgate = apart.unflatten(3, (w, scale)).unflatten(2, (h, scale)).sum((3, 5))
        if ctx.needs_input_grad[2]:
            dguide = grad * share
        passed = weights * (1 - share).unsqueeze(1)
        dots = dots * (1 - share).unsqueeze(1)
    dx = gradient_planes(window_scatter_fused(rows, passed, kernel, h, w), x) if ctx.needs_input_grad[0] else None
    dlogits = None
    if ctx.needs_input_grad[1]:
        dlogits = _softmax_slope(weights, dots)
        dlogits = F.pixel_unshuffle(dlogits.flatten(1, 2), scale) if shuffled else dlogits
    return dx, dlogits, dguide, dgate, None, None


def _attend_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    query, keys, x = ctx.saved_tensors
    (kernel,) = ctx.numbers
    h, w = x.shape[2:]
    rows = gradient_rows(grad)
    weights = _softmax(window_similarity_fused(query, keys, kernel, 1))
    dx = gradient_planes(window_scatter_fused(rows, weights, kernel, h, w), x) if ctx.needs_input_grad[2] else None
    dlogits = _softmax_slope(weights, window_similarity_fused(rows, x, kernel, 1))
    dquery = window_assemble_fused(keys, dlogits, kernel) if ctx.needs_input_grad[0] else None
    dkeys = window_scatter_fused(query, dlogits, kernel, h, w) if ctx.needs_input_grad[1] else None
    return dquery, dkeys, dx, None


def _project_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    x, weight, bias = ctx.saved_tensors
    need_x, need_weight = ctx.needs_input_grad[:2]
    dx = dweight = dbias = None
    columns = grad.flatten(2)
    if need_x:
        # In the memory order of x: planes as planes.
        flat = weight.flatten(1)
        if x.is_contiguous():
            # `@` would fold the images into the pixels, and copy the result into planes afterwards.
            dx = torch.bmm(flat.t().expand(len(x), -1, -1), columns).unflatten(2, x.shape[2:])
        else:
            dx = (columns.transpose(1, 2) @ flat).unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)
    if need_weight:
        dweight = (columns @ x.flatten(2).transpose(1, 2)).sum(0).view_as(weight)
    if bias is not None and ctx.needs_input_grad[2]:
        dbias = columns.sum((0, 2))
    return dx, dweight, dbias


for _name, _backward in (
    ("reassemble_fused", _reassemble_backward),
    ("attend_window_fused", _attend_backward),
    ("project_fused", _project_backward),
):
    torch.library.register_autograd(f"upbench::{_name}", _backward, setup_context=_keep, lib=LIBRARY)

LIBRARY.impl("reassemble_fused", window_kernels.reassemble, "CPU")
LIBRARY.impl("attend_window_fused", window_kernels.attend, "CPU")
LIBRARY.impl("project_fused", projection.project, "CPU")
