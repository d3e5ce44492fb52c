"""Sums over windows of bilinear samples by the C kernels: samples one pixel apart read (kernel + 1)^2 pixels, not 4 kernel^2.

All output pixels that lie between the same four pixels of the map read the same ones: they are the children of a cell of
`window_kernels`, of which there is one more along each side than there are pixels.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from upbench.ops.cpu import map_kernels, window_kernels
from upbench.ops.fused import deform_scatter_fused, deform_similarity_fused, gradient_planes, gradient_rows
from upbench.ops.memory_layout import empty_map
from upbench.ops.points import sample_window_positions
from upbench.ops.registration import LIBRARY, OPS, Op, numel

LIBRARY.define(
    "sample_windows_fused(Tensor x, Tensor weight, int kernel) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,)
)
sample_windows_fused: Any = torch.ops.upbench.sample_windows_fused.default
OPS["upbench::sample_windows_fused"] = Op(
    "upbench::sample_windows_fused",
    "gather",
    lambda shapes, args: 5 * args[0] ** 2 * numel(shapes[-1]),
    {"neighbour_assemble": 1},
)


def can_run(x: Tensor, weight: Tensor) -> bool:
    """Return whether the kernels take a map and weights.

    Args:
        x: the map.
        weight: the weights, of float32 or float64.
    """
    return x.device.type == "cpu" and window_kernels.can_run_native(x) and map_kernels.can_run_native(weight)


@lru_cache(256)
def _between(size: int, out: int) -> tuple[Tensor, Tensor]:
    """Of one side the first output pixel at or beyond each pixel, from the one before the first on: int64 [size + 2]; and how far
    each output pixel lies beyond the last pixel before it: float64 [out]."""
    position = (torch.arange(out, dtype=torch.float64) + 0.5) * size / out - 0.5
    cells = position.floor().clamp(-1, size - 1)
    starts = torch.searchsorted(cells, torch.arange(-1, size + 1, dtype=torch.float64))
    return starts, position - cells


def assemble(
    x: Float[Tensor, "B C H W"], weight: Float[Tensor, "B T oH oW"], kernel: int
) -> Float[Tensor, "B C oH oW"]:
    """Compute `ops.sample_window_assemble` with its arguments, the weights in at least float32."""
    (h, w), (out_h, out_w) = x.shape[2:], weight.shape[2:]
    (rows, down), (columns, right) = _between(h, out_h), _between(w, out_w)
    taps = map_kernels.fold(weight.contiguous(), right.to(weight.dtype), down.to(weight.dtype), kernel).to(x.dtype)
    job = window_kernels.Windows(
        height=h,
        width=w,
        cells_across=w + 1,
        out_width=out_w,
        groups=1,
        kernel=kernel + 1,
        origin=-(kernel // 2) - 1,
        border=window_kernels.REPEATED,
        rows=rows.data_ptr(),
        columns=columns.data_ptr(),
        weight_pitch=taps.stride(2),
        tap_step=1,
        dtype=window_kernels.DTYPES.index(x.dtype),
    )
    return window_kernels.run_sums("assemble", job, x, {"weights": taps}, (out_h, out_w), h + 1)


@torch.library.register_fake("upbench::sample_windows_fused", lib=LIBRARY)
def _(x: Tensor, weight: Tensor, kernel: int) -> Tensor:
    return empty_map(x, x.shape[0], x.shape[1], weight.shape[2], weight.shape[3])


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])
    ctx.kernel = inputs[2]


def _backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    x, weight = ctx.saved_tensors
    given, x, grad = x.dtype, x.to(weight.dtype), grad.to(weight.dtype)
    aligned, taps = sample_window_positions(x, weight.shape[2], weight.shape[3], ctx.kernel)
    points = (aligned + taps[:, None, None]).expand(x.shape[0], 1, -1, -1, -1, -1)
    dx = dweight = None
    if ctx.needs_input_grad[1]:
        grad = gradient_rows(grad)  # once for both
    if ctx.needs_input_grad[0]:
        dx = deform_scatter_fused(grad, weight.unsqueeze(1), points, "border", x.shape[2], x.shape[3]).to(given)
        dx = gradient_planes(dx, x)
    if ctx.needs_input_grad[1]:
        dweight = deform_similarity_fused(grad, x, points, "border", 1).squeeze(1)
    return dx, dweight, None


torch.library.register_autograd("upbench::sample_windows_fused", _backward, setup_context=_keep, lib=LIBRARY)
LIBRARY.impl("sample_windows_fused", assemble, "CPU")
