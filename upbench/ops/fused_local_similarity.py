"""Fused cosines of neighbours: the op and its gradient, without a copy of the windows and without unit vectors.

cos[t, p] = <x[p], x[p + o_t]> / (n[p] n[p + o_t]), n the norm of a pixel, at least EPS. A pair of pixels meets twice, so that the
gradient is again a sum over the window: dx[p] = sum over t of S[t, p] x[p + o_t] / (n[p] n[p + o_t]) - x[p] / n[p]^2 sum over t of
S[t, p] cos[t, p], S[t, p] = grad[t, p] + grad[-t, p + o_t]; the second part only where n is not held at EPS. Kernels:
`cpu.local_similarity`, and for CUDA `triton.local_similarity`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from upbench.ops.double_gradient import recorded_slopes
from upbench.ops.local_similarity import EPS, neighbour_cosines
from upbench.ops.registration import LIBRARY, OPS, Op, coordinate_dtype, numel

LIBRARY.define(
    "local_similarity_fused(Tensor x, int kernel, int dilation) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,)
)
LIBRARY.define(
    "local_similarity_slope_fused(Tensor grad, Tensor x, Tensor alike, int kernel, int dilation) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
local_similarity_fused: Any = torch.ops.upbench.local_similarity_fused.default
local_similarity_slope_fused: Any = torch.ops.upbench.local_similarity_slope_fused.default
"""The gradient of `local_similarity_fused` in x; alike: what it returned."""
OPS["upbench::local_similarity_fused"] = Op(
    "upbench::local_similarity_fused",
    "gather",
    lambda shapes, args: (args[0] ** 2 - 1) * numel(shapes[0]),
    {"local_similarity": 1},
)


@torch.library.register_fake("upbench::local_similarity_fused", lib=LIBRARY)
def _(x: Tensor, kernel: int, dilation: int) -> Tensor:
    return x.new_empty((x.shape[0], kernel * kernel - 1, *x.shape[2:]))


@torch.library.register_fake("upbench::local_similarity_slope_fused", lib=LIBRARY)
def _(grad: Tensor, x: Tensor, alike: Tensor, kernel: int, dilation: int) -> Tensor:
    return x.new_empty(x.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0], output)
    ctx.others = inputs[1:]


def _backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    x, alike = ctx.saved_tensors
    if torch.is_grad_enabled() and (grad.requires_grad or x.requires_grad):
        # What is differentiated twice holds all windows: nothing but tests of a layer's smoothness asks for it.
        return (*recorded_slopes(lambda x: neighbour_cosines(x, *ctx.others), [x], grad), None, None)
    return local_similarity_slope_fused(grad, x, alike, *ctx.others), None, None


torch.library.register_autograd("upbench::local_similarity_fused", _backward, setup_context=_keep, lib=LIBRARY)


def neighbours(kernel: int, dilation: int, height: int, width: int) -> Iterator[tuple[int, Any, Any]]:
    """Go through the taps of a window: of each its number, the pixels whose neighbour is inside the map, and these neighbours.

    Args:
        kernel: side of the window in taps, odd.
        dilation: steps between taps, in pixels.
        height: rows of the map.
        width: columns of the map.

    Yields:
        Number of the tap, the centre among them, and two pairs of slices of rows and columns.
    """
    for tap in range(kernel * kernel):
        down, right = ((n - kernel // 2) * dilation for n in divmod(tap, kernel))
        rows = slice(max(0, -down), max(0, height - max(0, down)))
        columns = slice(max(0, -right), max(0, width - max(0, right)))
        if rows.start < rows.stop and columns.start < columns.stop:
            there = (slice(rows.start + down, rows.stop + down), slice(columns.start + right, columns.stop + right))
            yield tap, (rows, columns), there


def inverse_norms(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B H W"]:
    """Return one over the norm of every pixel, held at EPS, in at least float32.

    Args:
        x: the map.
    """
    return torch.linalg.vector_norm(x, dim=1, dtype=coordinate_dtype(x.dtype)).clamp_min_(EPS).reciprocal_()


def slope_weights(
    grad: Float[Tensor, "B T H W"],
    alike: Float[Tensor, "B T H W"],
    inverse: Float[Tensor, "B H W"],
    kernel: int,
    dilation: int,
) -> Float[Tensor, "B K H W"]:
    """Return the weights of the window, the centre among them, with which x sums up to its gradient.

    Args:
        grad: the gradient of the cosines.
        alike: the cosines.
        inverse: what `inverse_norms` returns.
        kernel: side of the window in taps, odd.
        dilation: steps between taps, in pixels.
    """
    b, taps, h, w = grad.shape
    grad, centre = grad.to(inverse.dtype), taps // 2
    out = inverse.new_zeros((b, taps + 1, h, w))
    held = inverse >= 1 / EPS
    sums = torch.zeros_like(inverse)
    for tap, here, there in neighbours(kernel, dilation, h, w):
        if tap == centre:
            continue
        n = tap - (tap > centre)
        both = grad[:, n, *here] + grad[:, taps - 1 - n, *there]
        sums[:, *here].addcmul_(both, alike[:, n, *here].to(both.dtype))
        out[:, tap, *here] = both.mul_(inverse[:, *here]).mul_(inverse[:, *there])
    out[:, centre] = (-sums * inverse.square()).masked_fill_(held, 0)
    return out
