"""Box means, the guided filter and the softmax over taps by the C kernels (`csrc/maps.c`); all but the filter with gradients."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from upbench.ops.cpu import map_kernels, structs
from upbench.ops.registration import LIBRARY, OPS, Op, coordinate_dtype, numel

Guided = structs.struct(
    "Guided",
    **dict.fromkeys(("guidance", "source", "out"), structs.ADDRESS),
    eps=structs.REAL,
    **dict.fromkeys(("height", "width", "radius", "subsample", "dtype"), structs.COUNT),
)

for _signature in (
    "box_mean_fused(Tensor x, int radius, bool transposed=False) -> Tensor",
    "guided_filter_fused(Tensor guidance, Tensor source, int radius, float eps, int subsample) -> Tensor",
    "softmax_taps_fused(Tensor logits) -> Tensor",
    "softmax_taps_slope_fused(Tensor weights, Tensor grad) -> Tensor",
):
    LIBRARY.define(_signature, tags=(torch.Tag.pt2_compliant_tag,))
box_mean_fused: Any = torch.ops.upbench.box_mean_fused.default
guided_filter_fused: Any = torch.ops.upbench.guided_filter_fused.default
softmax_taps_fused: Any = torch.ops.upbench.softmax_taps_fused.default
softmax_taps_slope_fused: Any = torch.ops.upbench.softmax_taps_slope_fused.default
MOST_TAPS = 64
"""Taps up to which the softmax is ours: of longer rows torch's is in vectors."""

OPS["upbench::box_mean_fused"] = Op(
    "upbench::box_mean_fused", "conv", lambda shapes, args: 2 * (2 * args[0] + 1) * numel(shapes[-1]), {"box_mean": 1}
)


def _filter_macs(shapes: Any, args: Any) -> dict[str, int]:
    """Of guidance and source the first of every few pixels, which are named along each side; then means of six maps."""
    (b, c, *sides), (radius, _, subsample) = shapes[0], args
    counts = [max(n // subsample, 1) for n in sides]
    few, values = b * c * numel(counts), numel(shapes[0])
    return {
        "upbench::box_mean": 6 * 2 * (2 * radius + 1) * few,
        "upbench::resize_map": 2 * 4 * values,
        "aten::mul": 5 * few + values + 2 * sum(counts),
        "aten::add": few + values,
        "aten::sub": 3 * few,
        "aten::div": few,
    }


OPS["upbench::guided_filter_fused"] = Op(
    "upbench::guided_filter_fused", "conv", lambda shapes, args: sum(_filter_macs(shapes, args).values()), _filter_macs
)


def _softmax_macs(shapes: Any, args: Any) -> dict[str, int]:
    return {"aten::softmax": 3 * numel(shapes[-1])}


OPS["upbench::softmax_taps_fused"] = Op(
    "upbench::softmax_taps_fused", "elementwise", lambda shapes, args: 3 * numel(shapes[-1]), _softmax_macs
)


def box_mean(x: Float[Tensor, "B C H W"], radius: int) -> Float[Tensor, "B C H W"]:
    """Compute `ops.box_mean`, with its arguments."""
    return box_mean_fused(x, radius)


def can_filter(guidance: Tensor) -> bool:
    """Return whether the kernel takes a guided filter, which it computes in at least float32.

    Args:
        guidance: the map of guidance.
    """
    wide = guidance.new_empty(0, dtype=coordinate_dtype(guidance.dtype))
    return guidance.numel() > 0 and map_kernels.can_run_native(wide)


def guided_filter(
    guidance: Float[Tensor, "B C H W"], source: Float[Tensor, "B C H W"], radius: int, eps: float, subsample: int
) -> Float[Tensor, "B C H W"]:
    """Compute `ops.guided_filter`, with its arguments, of which none records a gradient."""
    dtype = coordinate_dtype(guidance.dtype)
    one, other = (t.to(dtype).contiguous() for t in (guidance, source))
    out = torch.empty_like(one)
    b, c, h, w = out.shape
    job = Guided(height=h, width=w, radius=radius, subsample=subsample, eps=eps, dtype=map_kernels.DTYPES.index(dtype))
    job.guidance, job.source, job.out = (t.data_ptr() for t in (one, other, out))
    map_kernels.run("guided", job, b * c, map_kernels.PLANES, 16 * out.numel())
    return out.to(guidance.dtype)


@torch.library.register_fake("upbench::guided_filter_fused", lib=LIBRARY)
def _(guidance: Tensor, source: Tensor, radius: int, eps: float, subsample: int) -> Tensor:
    return guidance.new_empty(guidance.shape)


def softmax_last(logits: Float[Tensor, "*shape T"]) -> Float[Tensor, "*shape T"]:
    """Take the softmax over the last dimension, by the kernel where it takes it.

    Args:
        logits: the logits, of any shape.
    """
    in_pieces = logits.dtype != coordinate_dtype(logits.dtype)
    if 0 < logits.shape[-1] <= MOST_TAPS and map_kernels.can_run_native(
        logits[..., :0].float() if in_pieces else logits
    ):
        return softmax_taps_fused(logits)
    return logits.softmax(-1)


def _box(x: Tensor, radius: int, transposed: bool = False) -> Tensor:
    return map_kernels.box(x, radius, transposed)


def _softmax(logits: Tensor) -> Tensor:
    # Half precision in float32: what is copied is as small as the weights, and torch's own softmax takes four times as long.
    dtype = coordinate_dtype(logits.dtype)
    return map_kernels.softmax(logits.to(dtype).contiguous()).to(logits.dtype)


def _softmax_slope(weights: Tensor, grad: Tensor) -> Tensor:
    dtype = coordinate_dtype(weights.dtype)
    return map_kernels.softmax(weights.to(dtype).contiguous(), grad.to(dtype).contiguous()).to(weights.dtype)


@torch.library.register_fake("upbench::box_mean_fused", lib=LIBRARY)
def _(x: Tensor, radius: int, transposed: bool = False) -> Tensor:
    return x.new_empty(x.shape)


@torch.library.register_fake("upbench::softmax_taps_fused", lib=LIBRARY)
def _(logits: Tensor) -> Tensor:
    return logits.new_empty(logits.shape)


@torch.library.register_fake("upbench::softmax_taps_slope_fused", lib=LIBRARY)
def _(weights: Tensor, grad: Tensor) -> Tensor:
    return weights.new_empty(weights.shape)


def _keep_box(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.radius, ctx.transposed = inputs[1:]


def _box_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    return box_mean_fused(grad, ctx.radius, not ctx.transposed), None, None


def _keep_softmax(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(output)


def _softmax_backward(ctx: Any, grad: Tensor) -> Tensor:
    (weights,) = ctx.saved_tensors
    if torch.is_grad_enabled() and (grad.requires_grad or weights.requires_grad):
        return weights * (grad - (weights * grad).sum(-1, keepdim=True))
    return softmax_taps_slope_fused(weights, grad)


torch.library.register_autograd("upbench::box_mean_fused", _box_backward, setup_context=_keep_box, lib=LIBRARY)
torch.library.register_autograd(
    "upbench::softmax_taps_fused", _softmax_backward, setup_context=_keep_softmax, lib=LIBRARY
)
LIBRARY.impl("guided_filter_fused", guided_filter, "CPU")
LIBRARY.impl("box_mean_fused", _box, "CPU")
LIBRARY.impl("softmax_taps_fused", _softmax, "CPU")
LIBRARY.impl("softmax_taps_slope_fused", _softmax_slope, "CPU")
