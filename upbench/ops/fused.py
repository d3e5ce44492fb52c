"""The fused ops: their signatures, what they return, and their gradients, whatever the device.

Each is one node for torch.compile, torch.export and fvcore, and declares the MACs of the plain ops that it stands for.
The families are closed under differentiation: the gradient of an assembly in its weights is a similarity, the gradient
in its map a scatter, and so on, so that nothing but the inputs is kept for backward. Kernels: `cpu.windows`,
`cpu.points`, and for CUDA `triton.register`, each registered under its dispatch key.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from upbench.ops.memory_layout import empty_map, empty_points, empty_taps, rows_last
from upbench.ops.registration import LIBRARY, OPS, Op, numel

# What lies last in memory: the channels of a map and the taps of weights, so that a kernel reads whole rows.
# mirrored: what taps outside the map read, see `margins`; else zero.
_SIGNATURES = (
    "window_assemble_fused(Tensor x, Tensor weight, int kernel, bool mirrored=False) -> Tensor",
    "window_similarity_fused(Tensor query, Tensor keys, int kernel, int heads, bool mirrored=False) -> Tensor",
    "window_scatter_fused(Tensor source, Tensor weight, int kernel, SymInt height, SymInt width, bool mirrored=False)"
    " -> Tensor",
    "rows_last_fused(Tensor x) -> Tensor",
    "planes_fused(Tensor x) -> Tensor",
    "deform_assemble_fused(Tensor x, Tensor? weight, Tensor points, str padding) -> Tensor",
    "deform_similarity_fused(Tensor query, Tensor keys, Tensor points, str padding, int heads) -> Tensor",
    "deform_scatter_fused(Tensor source, Tensor? weight, Tensor points, str padding, SymInt height, SymInt width)"
    " -> Tensor",
    "deform_slope_fused(Tensor source, Tensor x, Tensor? weight, Tensor points, str padding) -> (Tensor, Tensor)",
)
for _signature in _SIGNATURES:
    LIBRARY.define(_signature, tags=(torch.Tag.pt2_compliant_tag,))

window_assemble_fused: Any = torch.ops.upbench.window_assemble_fused.default
window_similarity_fused: Any = torch.ops.upbench.window_similarity_fused.default
window_scatter_fused: Any = torch.ops.upbench.window_scatter_fused.default
rows_last_fused: Any = torch.ops.upbench.rows_last_fused.default
"""`memory_layout.rows_last` as a copy."""
planes_fused: Any = torch.ops.upbench.planes_fused.default
"""The way back: a contiguous copy."""
deform_assemble_fused: Any = torch.ops.upbench.deform_assemble_fused.default
deform_similarity_fused: Any = torch.ops.upbench.deform_similarity_fused.default
deform_scatter_fused: Any = torch.ops.upbench.deform_scatter_fused.default
deform_slope_fused: Any = torch.ops.upbench.deform_slope_fused.default


def _declare(name: str, macs: Any, **shares: int) -> None:
    OPS[f"upbench::{name}"] = Op(f"upbench::{name}", "gather", macs, shares)


# Shapes: tensor arguments in order, then the output. Sampling is 4 per value read, weighing or comparing 1.
_declare("window_assemble_fused", lambda shapes, args: args[0] ** 2 * numel(shapes[-1]), window_assemble=1)
_declare("window_similarity_fused", lambda shapes, args: args[0] ** 2 * numel(shapes[0]), window_similarity=1)
_declare(
    "deform_assemble_fused",
    lambda shapes, args: (5 * shapes[1][2] if len(shapes) == 4 else 4) * numel(shapes[-1]),
    sample_points=4,
    point_assemble=1,
)
_declare(
    "deform_similarity_fused",
    lambda shapes, args: 5 * shapes[2][2] * numel(shapes[0]),
    sample_points=4,
    point_similarity=1,
)


def _fake(name: str) -> Any:
    return torch.library.register_fake(f"upbench::{name}", lib=LIBRARY)


def _gradient(name: str, backward: Any, keep: Any) -> None:
    torch.library.register_autograd(f"upbench::{name}", backward, setup_context=keep, lib=LIBRARY)


@_fake("window_assemble_fused")
def _(x: Tensor, weight: Tensor, kernel: int, mirrored: bool = False) -> Tensor:
    return empty_map(x, x.shape[0], x.shape[1], weight.shape[3], weight.shape[4])


@_fake("window_similarity_fused")
def _(query: Tensor, keys: Tensor, kernel: int, heads: int, mirrored: bool = False) -> Tensor:
    return empty_taps(query, query.shape[0], heads, kernel * kernel, query.shape[2], query.shape[3])


@_fake("window_scatter_fused")
def _(source: Tensor, weight: Tensor, kernel: int, height: int, width: int, mirrored: bool = False) -> Tensor:
    return empty_map(source, source.shape[0], source.shape[1], height, width)


@_fake("rows_last_fused")
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


@_fake("planes_fused")
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@_fake("deform_assemble_fused")
def _(x: Tensor, weight: Tensor | None, points: Tensor, padding: str) -> Tensor:
    return empty_map(x, x.shape[0], x.shape[1], points.shape[3], points.shape[4])


@_fake("deform_similarity_fused")
def _(query: Tensor, keys: Tensor, points: Tensor, padding: str, heads: int) -> Tensor:
    return empty_taps(query, query.shape[0], heads, points.shape[2], points.shape[3], points.shape[4])


@_fake("deform_scatter_fused")
def _(source: Tensor, weight: Tensor | None, points: Tensor, padding: str, height: int, width: int) -> Tensor:
    return empty_map(source, source.shape[0], source.shape[1], height, width)


@_fake("deform_slope_fused")
def _(source: Tensor, x: Tensor, weight: Tensor | None, points: Tensor, padding: str) -> tuple[Tensor, Tensor]:
    heads = 1 if weight is None else weight.shape[1]
    dots = empty_taps(source, source.shape[0], heads, points.shape[2], points.shape[3], points.shape[4])
    return dots, empty_points(points)


def gradient_rows(grad: Tensor) -> Tensor:
    """Bring a gradient into the memory order of `rows_last`, by a kernel where it lies in planes on a CPU.

    Args:
        grad: [B, C, H, W].
    """
    return rows_last_fused(grad) if _here(grad) and grad.is_contiguous() else rows_last(grad)


def gradient_planes(grad: Tensor, x: Tensor | None = None) -> Tensor:
    """Bring the gradient of a map into planes, by a kernel where it lies channels-last on a CPU and the map, or None, in planes.

    torch adds such gradients up, and keeps them, in the order of the map, and its own copies take three times as long.

    Args:
        grad: [B, C, H, W].
        x: the map; None for one of planes.
    """
    last = not grad.is_contiguous() and grad.is_contiguous(memory_format=torch.channels_last)
    turned = _here(grad) and last and (x is None or x.is_contiguous())
    return planes_fused(grad) if turned else grad


def _here(grad: Tensor) -> bool:
    """Whether it is on a CPU, and no traced one, which is left to the compiler: it may fuse a copy with what comes before it."""
    return type(grad) is Tensor and grad.device.type == "cpu"


def _keep(names: tuple[str, ...], numbers: tuple[str, ...]) -> Any:
    """Keeps the first arguments, which are tensors, for backward, and the others as attributes of the context."""

    def keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs[: len(names)])
        for name, value in zip(numbers, inputs[len(names) :], strict=True):
            setattr(ctx, name, value)

    return keep


def _assemble_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    x, weight = ctx.saved_tensors
    need_x, need_weight = ctx.needs_input_grad[:2]
    kernel, mirrored = ctx.kernel, ctx.mirrored
    grad = gradient_rows(grad)  # once for both
    dx = None
    if need_x:
        dx = gradient_planes(window_scatter_fused(grad, weight, kernel, x.shape[2], x.shape[3], mirrored), x)
    dweight = window_similarity_fused(grad, x, kernel, weight.shape[1], mirrored) if need_weight else None
    return dx, dweight, None, None


def _similarity_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    query, keys = ctx.saved_tensors
    need_query, need_keys = ctx.needs_input_grad[:2]
    kernel, mirrored = ctx.kernel, ctx.mirrored
    dquery = window_assemble_fused(keys, grad, kernel, mirrored) if need_query else None
    dkeys = window_scatter_fused(query, grad, kernel, keys.shape[2], keys.shape[3], mirrored) if need_keys else None
    return dquery, dkeys, None, None, None


def _scatter_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    source, weight = ctx.saved_tensors
    need_source, need_weight = ctx.needs_input_grad[:2]
    kernel, mirrored = ctx.kernel, ctx.mirrored
    dsource = window_assemble_fused(grad, weight, kernel, mirrored) if need_source else None
    dweight = window_similarity_fused(source, grad, kernel, weight.shape[1], mirrored) if need_weight else None
    return dsource, dweight, None, None, None, None


def _deform_assemble_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    x, weight, points = ctx.saved_tensors
    need_x, need_weight, need_points, _ = ctx.needs_input_grad
    dx = dweight = dpoints = None
    if need_weight and not need_points:
        grad = gradient_rows(grad)  # once for both; slopes read planes as they are
    if need_x:
        dx = gradient_planes(deform_scatter_fused(grad, weight, points, ctx.padding, x.shape[2], x.shape[3]), x)
    if need_points:
        dweight, dpoints = deform_slope_fused(grad, x, weight, points, ctx.padding)
    elif need_weight:
        dweight = deform_similarity_fused(grad, x, points, ctx.padding, weight.shape[1])
    return dx, dweight if need_weight else None, dpoints, None


def _deform_similarity_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    query, keys, points = ctx.saved_tensors
    need_query, need_keys, need_points = ctx.needs_input_grad[:3]
    dquery = deform_assemble_fused(keys, grad, points, ctx.padding) if need_query else None
    dkeys = None
    if need_keys:
        dkeys = deform_scatter_fused(query, grad, points, ctx.padding, keys.shape[2], keys.shape[3])
    dpoints = deform_slope_fused(query, keys, grad, points, ctx.padding)[1] if need_points else None
    return dquery, dkeys, dpoints, None, None


def _deform_scatter_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    source, weight, points = ctx.saved_tensors
    need_source, need_weight, need_points = ctx.needs_input_grad[:3]
    dsource = deform_assemble_fused(grad, weight, points, ctx.padding) if need_source else None
    dweight = dpoints = None
    if need_weight or need_points:
        dweight, dpoints = deform_slope_fused(source, grad, weight, points, ctx.padding)
    return dsource, dweight if need_weight else None, dpoints if need_points else None, None, None, None


_gradient("window_assemble_fused", _assemble_backward, _keep(("x", "weight"), ("kernel", "mirrored")))
_gradient("window_similarity_fused", _similarity_backward, _keep(("query", "keys"), ("kernel", "heads", "mirrored")))
_gradient(
    "window_scatter_fused", _scatter_backward, _keep(("source", "weight"), ("kernel", "height", "width", "mirrored"))
)
_gradient("rows_last_fused", lambda ctx, grad: gradient_planes(grad), lambda ctx, inputs, output: None)
_gradient("planes_fused", lambda ctx, grad: grad, lambda ctx, inputs, output: None)
_gradient("deform_assemble_fused", _deform_assemble_backward, _keep(("x", "weight", "points"), ("padding",)))
_gradient(
    "deform_similarity_fused", _deform_similarity_backward, _keep(("query", "keys", "points"), ("padding", "heads"))
)
_gradient(
    "deform_scatter_fused",
    _deform_scatter_backward,
    _keep(("source", "weight", "points"), ("padding", "height", "width")),
)


LIBRARY.define(
    "gate_fuse_fused_(Tensor guide, Tensor(a!) up, Tensor gate) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,)
)
gate_fuse_fused_: Any = torch.ops.upbench.gate_fuse_fused_.default
"""The gated mixture written into `up`, for inference: no second map of the size of the output."""
ROWS = 16


def _gate_fuse(guide: Tensor, up: Tensor, gate: Tensor) -> Tensor:
    if up.device.type == "cuda":
        up.lerp_(guide, gate)
        return _nothing(guide, up, gate)
    # A few rows at a time: the copy of the guide in the memory order of `up` stays in cache.
    for part in range(0, up.shape[2], ROWS):
        rows = slice(part, part + ROWS)
        mine = guide[:, :, rows].contiguous(memory_format=torch.channels_last)
        up[:, :, rows].lerp_(mine, gate[:, :, rows])
    return _nothing(guide, up, gate)


def _nothing(guide: Tensor, up: Tensor, gate: Tensor) -> Tensor:
    """What the op returns: an empty tensor, because a counter looks for the output of a node."""
    return up.new_empty(0)


LIBRARY.impl("gate_fuse_fused_", _gate_fuse, "CompositeExplicitAutograd")
torch.library.register_fake("upbench::gate_fuse_fused_", _nothing, lib=LIBRARY)
OPS["upbench::gate_fuse_fused_"] = Op(
    "upbench::gate_fuse_fused_", "gather", lambda shapes, args: 2 * numel(shapes[1]), {"gate_fuse": 1}
)
