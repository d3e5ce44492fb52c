"""Cosines of neighbours as Triton kernels, forward and backward, without a copy of the windows.

One kernel takes dot products with each tap, the other sums the window by weights of the pixel's own. Sums run in float32
(float64 for float64), and nothing is added atomically.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from upbench.ops.fused_local_similarity import inverse_norms, slope_weights

PIXELS, CHANNELS = 128, 16
"""Pixels and channels that a program takes at a time."""


@triton.jit
def _compare(
    x, inverse, out, channels, height, width, dilation,
    KERNEL: tl.constexpr, SUM: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """out[t, p] = <x[p], x[p + offset(t)]> inverse[p] inverse[p + offset(t)], of all taps but the centre.

    The taps of a block of pixels run beside each other, so that they find the same part of x in a cache.
    """
    taps: tl.constexpr = KERNEL * KERNEL - 1
    n = tl.program_id(0) % taps
    tap = n + (n >= taps // 2).to(tl.int32)
    batch = tl.program_id(1).to(tl.int64)
    plane = height * width
    p = tl.program_id(0) // taps * BLOCK_P + tl.arange(0, BLOCK_P)
    there = p < plane
    row = p // width + (tap // KERNEL - KERNEL // 2) * dilation
    column = p % width + (tap % KERNEL - KERNEL // 2) * dilation
    inside = there & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    q = row * width + column
    total = tl.zeros((BLOCK_C, BLOCK_P), dtype=SUM)
    for start in range(0, channels, BLOCK_C):
        c = start + tl.arange(0, BLOCK_C)
        map = x + (batch * channels + c.to(tl.int64))[:, None] * plane
        seen = (c < channels)[:, None] & inside[None, :]
        first = tl.load(map + p[None, :], mask=seen, other=0.0)
        second = tl.load(map + q[None, :], mask=seen, other=0.0)
        total += first.to(SUM) * second.to(SUM)
    by = tl.load(inverse + batch * plane + p, mask=inside, other=0.0)
    other_by = tl.load(inverse + batch * plane + q, mask=inside, other=0.0)
    cosine = tl.sum(total, axis=0) * by * other_by
    tl.store(out + (batch * taps + n) * plane + p, cosine.to(out.dtype.element_ty), mask=there)


@triton.jit
def _blend(
    x, weight, out, channels, height, width, dilation,
    KERNEL: tl.constexpr, SUM: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """out[c, p] = sum over all taps of weight[t, p] * x[c, p + offset(t)]."""
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    batch = tl.program_id(2).to(tl.int64)
    plane = height * width
    p = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    there = p < plane
    place = (batch * channels + c.to(tl.int64))[:, None] * plane
    total = tl.zeros((BLOCK_C, BLOCK_P), dtype=SUM)
    for tap in range(KERNEL * KERNEL):
        row = p // width + (tap // KERNEL - KERNEL // 2) * dilation
        column = p % width + (tap % KERNEL - KERNEL // 2) * dilation
        inside = there & (row >= 0) & (row < height) & (column >= 0) & (column < width)
        w = tl.load(weight + (batch * KERNEL * KERNEL + tap) * plane + p, mask=inside, other=0.0)
        seen = (c < channels)[:, None] & inside[None, :]
        value = tl.load(x + place + (row * width + column)[None, :], mask=seen, other=0.0)
        total += w.to(SUM)[None, :] * value.to(SUM)
    seen = (c < channels)[:, None] & there[None, :]
    tl.store(out + place + p[None, :], total.to(out.dtype.element_ty), mask=seen)


def similarity(x: Float[Tensor, "B C H W"], kernel: int, dilation: int) -> Float[Tensor, "B T H W"]:
    """Compute `ops.local_similarity`.

    Args:
        x: the map.
        kernel: side of the window in taps, odd.
        dilation: steps between taps, in pixels.
    """
    x, (b, c, h, w), taps = x.contiguous(), x.shape, kernel * kernel - 1
    out = x.new_empty((b, taps, h, w))
    if taps:
        grid = (triton.cdiv(h * w, PIXELS) * taps, b)
        _compare[grid](x, inverse_norms(x), out, c, h, w, dilation, **_options(x, kernel))
    return out


def slope(
    grad: Float[Tensor, "B T H W"],
    x: Float[Tensor, "B C H W"],
    alike: Float[Tensor, "B T H W"],
    kernel: int,
    dilation: int,
) -> Float[Tensor, "B C H W"]:
    """Compute the gradient of `similarity` in x.

    Args:
        grad: the gradient of the cosines.
        x: the map.
        alike: the cosines.
        kernel: side of the window in taps, odd.
        dilation: steps between taps, in pixels.
    """
    x, (b, c, h, w) = x.contiguous(), x.shape
    weights = slope_weights(grad, alike, inverse_norms(x), kernel, dilation)
    out = torch.empty_like(x)
    grid = (triton.cdiv(h * w, PIXELS), triton.cdiv(c, CHANNELS), b)
    _blend[grid](x, weights, out, c, h, w, dilation, **_options(x, kernel))
    return out


def _options(x: Tensor, kernel: int) -> dict[str, Any]:
    dtype = tl.float64 if x.dtype == torch.float64 else tl.float32
    return {"KERNEL": kernel, "SUM": dtype, "BLOCK_C": CHANNELS, "BLOCK_P": PIXELS}
