"""Window ops as Triton kernels, without unfolding anything.

Three kernels do it all and are each other's gradients: the assembly; the dot product of a map with each tap of a
window (similarity, and the gradient of the weights); and the scatter, done as a gather of what every output pixel
takes from a pixel (the gradient of the map). Sums run in float32 (float64 for float64). Nothing is added atomically,
so results do not vary from run to run. The parent of output row i' is i' * H // H', at any ratio.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from upbench.ops import _fused

BLOCK_PIXELS = 64
BLOCK_CHANNELS = 32


@triton.jit
def _assemble(
    x, weight, out, per_group, height, width, out_height, out_width, pixels,
    x_b, x_c, x_h, x_w, w_b, w_g, w_t, w_p, o_b, o_c, o_p,
    KERNEL: tl.constexpr, SUM: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """out[c, p] = sum over taps of weight[group(c), tap, p] * x[c, parent(p) + offset(tap)]."""
    blocks = tl.cdiv(per_group, BLOCK_C)
    group = tl.program_id(1) // blocks
    c = (tl.program_id(1) % blocks) * BLOCK_C + tl.arange(0, BLOCK_C)
    channel = (group * per_group + c).to(tl.int64)
    batch = tl.program_id(2).to(tl.int64)
    p = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    there = p < pixels
    i = (p // out_width) * height // out_height
    j = (p % out_width) * width // out_width
    total = tl.zeros((BLOCK_C, BLOCK_P), dtype=SUM)
    for tap in range(KERNEL * KERNEL):
        row = i + tap // KERNEL - KERNEL // 2
        column = j + tap % KERNEL - KERNEL // 2
        inside = there & (row >= 0) & (row < height) & (column >= 0) & (column < width)
        w = tl.load(weight + batch * w_b + group * w_g + tap * w_t + p.to(tl.int64) * w_p, mask=inside, other=0.0)
        place = x + batch * x_b + channel[:, None] * x_c + (row * x_h + column * x_w)[None, :]
        value = tl.load(place, mask=(c < per_group)[:, None] & inside[None, :], other=0.0)
        total += w.to(SUM)[None, :] * value.to(SUM)
    place = out + batch * o_b + channel[:, None] * o_c + p.to(tl.int64)[None, :] * o_p
    tl.store(place, total.to(out.dtype.element_ty), mask=(c < per_group)[:, None] & there[None, :])


@triton.jit
def _dot(
    a, x, out, groups, per_group, height, width, out_height, out_width, pixels,
    a_b, a_c, a_p, x_b, x_c, x_h, x_w, o_b, o_g, o_t, o_p,
    KERNEL: tl.constexpr, SUM: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """out[group, tap, p] = sum over the group's channels of a[c, p] * x[c, parent(p) + offset(tap)]."""
    group = tl.program_id(1) % groups
    tap = tl.program_id(1) // groups
    batch = tl.program_id(2).to(tl.int64)
    p = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    there = p < pixels
    row = (p // out_width) * height // out_height + tap // KERNEL - KERNEL // 2
    column = (p % out_width) * width // out_width + tap % KERNEL - KERNEL // 2
    inside = there & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    total = tl.zeros((BLOCK_P,), dtype=SUM)
    for start in range(0, per_group, BLOCK_C):
        c = start + tl.arange(0, BLOCK_C)
        channel = (group * per_group + c).to(tl.int64)
        seen = (c < per_group)[:, None] & inside[None, :]
        first = tl.load(a + batch * a_b + channel[:, None] * a_c + p.to(tl.int64)[None, :] * a_p, mask=seen, other=0.0)
        place = x + batch * x_b + channel[:, None] * x_c + (row * x_h + column * x_w)[None, :]
        second = tl.load(place, mask=seen, other=0.0)
        total += tl.sum(first.to(SUM) * second.to(SUM), axis=0)
    place = out + batch * o_b + group * o_g + tap * o_t + p.to(tl.int64) * o_p
    tl.store(place, total.to(out.dtype.element_ty), mask=there)


@triton.jit
def _scatter(
    a, weight, out, per_group, height, width, out_height, out_width, pixels,
    a_b, a_c, a_p, w_b, w_g, w_t, w_p, o_b, o_c, o_p,
    KERNEL: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, SUM: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """out[c, q] = sum over the outputs p and taps that read pixel q of weight[group(c), tap, p] * a[c, p].

    The children of pixel (i, j) are rows ceil(i H'/H) to ceil((i+1) H'/H) and the same of columns: at most ROWS, COLUMNS.
    """
    blocks = tl.cdiv(per_group, BLOCK_C)
    group = tl.program_id(1) // blocks
    c = (tl.program_id(1) % blocks) * BLOCK_C + tl.arange(0, BLOCK_C)
    channel = (group * per_group + c).to(tl.int64)
    batch = tl.program_id(2).to(tl.int64)
    q = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    there = q < pixels
    total = tl.zeros((BLOCK_C, BLOCK_P), dtype=SUM)
    for tap in range(KERNEL * KERNEL):
        i = q // width - tap // KERNEL + KERNEL // 2
        j = q % width - tap % KERNEL + KERNEL // 2
        inside = there & (i >= 0) & (i < height) & (j >= 0) & (j < width)
        top = tl.cdiv(i * out_height, height)
        left = tl.cdiv(j * out_width, width)
        bottom = tl.cdiv((i + 1) * out_height, height)
        right = tl.cdiv((j + 1) * out_width, width)
        for part in range(ROWS * COLUMNS):
            row = top + part // COLUMNS
            column = left + part % COLUMNS
            child = inside & (row < bottom) & (column < right)
            p = (row * out_width + column).to(tl.int64)
            w = tl.load(weight + batch * w_b + group * w_g + tap * w_t + p * w_p, mask=child, other=0.0)
            place = a + batch * a_b + channel[:, None] * a_c + p[None, :] * a_p
            value = tl.load(place, mask=(c < per_group)[:, None] & child[None, :], other=0.0)
            total += w.to(SUM)[None, :] * value.to(SUM)
    place = out + batch * o_b + channel[:, None] * o_c + q.to(tl.int64)[None, :] * o_p
    tl.store(place, total.to(out.dtype.element_ty), mask=(c < per_group)[:, None] & there[None, :])


def assemble(x: Tensor, weight: Tensor, kernel: int) -> Tensor:
    """x: [B, C, H, W]; weight: [B, G, kernel^2, H', W'] -> [B, C, H', W']."""
    b, c, h, w = x.shape
    weight = weight.contiguous()
    groups, _, out_h, out_w = weight.shape[1:]
    out = _fused.empty_map(x, b, c, out_h, out_w)
    block = _block(c // groups)
    grid = (triton.cdiv(out_h * out_w, BLOCK_PIXELS), groups * triton.cdiv(c // groups, block), b)
    _assemble[grid](
        x, weight, out, c // groups, h, w, out_h, out_w, out_h * out_w,
        *x.stride(), *weight.stride()[:3], 1, *out.stride()[:2], pixel_stride(out),
        KERNEL=kernel, SUM=_sum(x), BLOCK_C=block, BLOCK_P=BLOCK_PIXELS,
    )  # fmt: skip
    return out


def similarity(query: Tensor, keys: Tensor, kernel: int, heads: int) -> Tensor:
    """query: [B, C, H', W']; keys: [B, C, H, W] -> [B, heads, kernel^2, H', W']."""
    b, c, h, w = keys.shape
    query = query.contiguous()
    out_h, out_w = query.shape[2:]
    out = _fused.empty_taps(query, b, heads, kernel * kernel, out_h, out_w)
    grid = (triton.cdiv(out_h * out_w, BLOCK_PIXELS), heads * kernel * kernel, b)
    _dot[grid](
        query, keys, out, heads, c // heads, h, w, out_h, out_w, out_h * out_w,
        *query.stride()[:2], 1, *keys.stride(), *out.stride()[:3], pixel_stride(out),
        KERNEL=kernel, SUM=_sum(keys), BLOCK_C=_block(c // heads), BLOCK_P=BLOCK_PIXELS,
    )  # fmt: skip
    return out


def scatter(source: Tensor, weight: Tensor, kernel: int, height: int, width: int) -> Tensor:
    """source: [B, C, H', W']; weight: [B, G, kernel^2, H', W'] -> [B, C, height, width], the transpose of `assemble`."""
    b, c, out_h, out_w = source.shape
    source, weight = source.contiguous(), weight.contiguous()
    groups = weight.shape[1]
    out = _fused.empty_map(source, b, c, height, width)
    block = _block(c // groups)
    grid = (triton.cdiv(height * width, BLOCK_PIXELS), groups * triton.cdiv(c // groups, block), b)
    _scatter[grid](
        source, weight, out, c // groups, height, width, out_h, out_w, height * width,
        *source.stride()[:2], 1, *weight.stride()[:3], 1, *out.stride()[:2], pixel_stride(out),
        KERNEL=kernel, ROWS=triton.cdiv(out_h, height), COLUMNS=triton.cdiv(out_w, width),
        SUM=_sum(source), BLOCK_C=block, BLOCK_P=BLOCK_PIXELS,
    )  # fmt: skip
    return out


def pixel_stride(out: Tensor) -> int:
    """Elements from one pixel to the next, row after row, of a map whose rows follow each other."""
    return out.stride(-1) if out.shape[-1] > 1 else out.stride(-2)


def _block(channels: int) -> int:
    return min(BLOCK_CHANNELS, triton.next_power_of_2(channels))


def _sum(x: Tensor) -> tl.dtype:
    return tl.float64 if x.dtype == torch.float64 else tl.float32
