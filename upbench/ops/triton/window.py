"""Window ops as Triton kernels, without unfolding anything.

Three kernels do it all and are each other's gradients: the assembly; the dot product of a map with each tap of a
window (similarity, and the gradient of the weights); and the scatter, done as a gather of what every output pixel
takes from a pixel (the gradient of the map). Sums run in float32 (float64 for float64). Nothing is added atomically,
so results do not vary from run to run. The parent of output row i' is i' * H // H', at any ratio.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from upbench.ops import memory_layout
from upbench.ops.margins import fold
from upbench.ops.registration import coordinate_dtype


class Tile(NamedTuple):
    """What one program works on: pixels x channels, by how many warps."""

    pixels: int
    channels: int
    warps: int

    def over(self, channels: int) -> dict[str, Any]:
        """Options of a kernel over units of `channels` channels: of fewer than a tile's, it takes more pixels."""
        width = min(self.channels, triton.next_power_of_2(channels))
        pixels = min(self.pixels * self.channels // width, max(self.pixels, 256))
        return {"BLOCK_C": width, "BLOCK_P": pixels, "num_warps": self.warps}


TILES = {
    "assemble": Tile(32, 64, 4),
    "assemble_twice": Tile(16, 64, 4),
    "similarity": Tile(32, 32, 4),
    "similarity, few channels": Tile(128, 16, 4),
    "scatter": Tile(32, 32, 4),
}
"""By kernel, the fastest on an H200 among those tried (256 channels, 120x120 to 240x240)."""
FEW = 64
"""Channels up to which a similarity takes the tile of its own."""


@triton.jit
def _seen(n, size, there, MIRRORED: tl.constexpr):
    """An index along a side of `size` as it is read, and whether it reads anything."""
    if MIRRORED:
        n = tl.abs(n)
        n = size - 1 - tl.abs(size - 1 - n)
        # Indices of no output fall anywhere.
        return n, there
    return n, there & (n >= 0) & (n < size)


@triton.jit
def _assemble(
    x, weight, out, per_group, height, width, out_height, out_width, pixels,
    x_b, x_c, x_h, x_w, w_b, w_g, w_t, w_p, o_b, o_c, o_p,
    KERNEL: tl.constexpr, MIRRORED: tl.constexpr, SUM: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr,
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
    map = x + batch * x_b + channel[:, None] * x_c
    total = tl.zeros((BLOCK_C, BLOCK_P), dtype=SUM)
    for tap in range(KERNEL * KERNEL):
        row, inside = _seen(i + tap // KERNEL - KERNEL // 2, height, there, MIRRORED)
        column, inside = _seen(j + tap % KERNEL - KERNEL // 2, width, inside, MIRRORED)
        w = tl.load(weight + batch * w_b + group * w_g + tap * w_t + p.to(tl.int64) * w_p, mask=inside, other=0.0)
        seen = (c < per_group)[:, None] & inside[None, :]
        value = tl.load(map + (row * x_h + column * x_w)[None, :], mask=seen, other=0.0)
        total += w.to(SUM)[None, :] * value.to(SUM)
    place = out + batch * o_b + channel[:, None] * o_c + p.to(tl.int64)[None, :] * o_p
    tl.store(place, total.to(out.dtype.element_ty), mask=(c < per_group)[:, None] & there[None, :])


@triton.jit
def _assemble_twice(
    x, weight, out, per_group, height, width, pixels,
    x_b, x_c, x_h, x_w, w_b, w_g, w_t, o_b, o_c, o_h, o_w,
    KERNEL: tl.constexpr, MIRRORED: tl.constexpr, SUM: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """As `_assemble` at scale 2: what is read around a pixel serves its four children. pixels: of x."""
    blocks = tl.cdiv(per_group, BLOCK_C)
    group = tl.program_id(1) // blocks
    c = (tl.program_id(1) % blocks) * BLOCK_C + tl.arange(0, BLOCK_C)
    channel = (group * per_group + c).to(tl.int64)
    batch = tl.program_id(2).to(tl.int64)
    q = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    there = q < pixels
    i = q // width
    j = q % width
    map = x + batch * x_b + channel[:, None] * x_c
    first = weight + batch * w_b + group * w_g + 4 * (i * width).to(tl.int64) + 2 * j
    upper_left = tl.zeros((BLOCK_C, BLOCK_P), dtype=SUM)
    upper_right = tl.zeros((BLOCK_C, BLOCK_P), dtype=SUM)
    lower_left = tl.zeros((BLOCK_C, BLOCK_P), dtype=SUM)
    lower_right = tl.zeros((BLOCK_C, BLOCK_P), dtype=SUM)
    for tap in range(KERNEL * KERNEL):
        row, inside = _seen(i + tap // KERNEL - KERNEL // 2, height, there, MIRRORED)
        column, inside = _seen(j + tap % KERNEL - KERNEL // 2, width, inside, MIRRORED)
        seen = (c < per_group)[:, None] & inside[None, :]
        value = tl.load(map + (row * x_h + column * x_w)[None, :], mask=seen, other=0.0).to(SUM)
        w = first + tap * w_t
        upper_left += tl.load(w, mask=inside, other=0.0).to(SUM)[None, :] * value
        upper_right += tl.load(w + 1, mask=inside, other=0.0).to(SUM)[None, :] * value
        lower_left += tl.load(w + 2 * width, mask=inside, other=0.0).to(SUM)[None, :] * value
        lower_right += tl.load(w + 2 * width + 1, mask=inside, other=0.0).to(SUM)[None, :] * value
    r = tl.program_id(0) * 2 * BLOCK_P + tl.arange(0, 2 * BLOCK_P)
    corner = (r // (2 * width)).to(tl.int64) * 2 * o_h + (r % (2 * width)) * o_w
    place = out + batch * o_b + channel[:, None] * o_c + corner[None, :]
    seen = (c < per_group)[:, None] & (r < 2 * pixels)[None, :]
    tl.store(place, tl.interleave(upper_left, upper_right).to(out.dtype.element_ty), mask=seen)
    tl.store(place + o_h, tl.interleave(lower_left, lower_right).to(out.dtype.element_ty), mask=seen)


@triton.jit
def _dot(
    a, x, out, per_group, height, width, out_height, out_width, pixels,
    a_b, a_c, a_p, x_b, x_c, x_h, x_w, o_b, o_g, o_t, o_p,
    KERNEL: tl.constexpr, MIRRORED: tl.constexpr, SUM: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """out[group, tap, p] = sum over the group's channels of a[c, p] * x[c, parent(p) + offset(tap)].

    The taps of a block of pixels run beside each other, so that they find the same part of `a` in a cache.
    """
    tap = tl.program_id(0) % (KERNEL * KERNEL)
    group = tl.program_id(1)
    batch = tl.program_id(2).to(tl.int64)
    p = tl.program_id(0) // (KERNEL * KERNEL) * BLOCK_P + tl.arange(0, BLOCK_P)
    there = p < pixels
    row = (p // out_width) * height // out_height + tap // KERNEL - KERNEL // 2
    column = (p % out_width) * width // out_width + tap % KERNEL - KERNEL // 2
    row, inside = _seen(row, height, there, MIRRORED)
    column, inside = _seen(column, width, inside, MIRRORED)
    total = tl.zeros((BLOCK_C, BLOCK_P), dtype=SUM)
    for start in range(0, per_group, BLOCK_C):
        c = start + tl.arange(0, BLOCK_C)
        channel = (group * per_group + c).to(tl.int64)
        seen = (c < per_group)[:, None] & inside[None, :]
        first = tl.load(a + batch * a_b + channel[:, None] * a_c + p.to(tl.int64)[None, :] * a_p, mask=seen, other=0.0)
        place = x + batch * x_b + channel[:, None] * x_c + (row * x_h + column * x_w)[None, :]
        second = tl.load(place, mask=seen, other=0.0)
        total += first.to(SUM) * second.to(SUM)
    place = out + batch * o_b + group * o_g + tap * o_t + p.to(tl.int64) * o_p
    tl.store(place, tl.sum(total, axis=0).to(out.dtype.element_ty), mask=there)


@triton.jit
def _scatter(
    a, weight, out, per_group, height, width, out_height, out_width, pixels,
    a_b, a_c, a_p, w_b, w_g, w_t, w_p, o_b, o_c, o_p,
    KERNEL: tl.constexpr, MARGIN: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, SUM: tl.constexpr, BLOCK_C: tl.constexpr,
    BLOCK_P: tl.constexpr,
):  # fmt: skip
    """out[c, q] = sum over the outputs p and taps that read pixel q of weight[group(c), tap, p] * a[c, p].

    out has MARGIN pixels around the map of height x width, and `pixels` in all.

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
        i = q // (width + 2 * MARGIN) - MARGIN - tap // KERNEL + KERNEL // 2
        j = q % (width + 2 * MARGIN) - MARGIN - tap % KERNEL + KERNEL // 2
        inside = there & (i >= 0) & (i < height) & (j >= 0) & (j < width)
        top = tl.cdiv(i * out_height, height)
        left = tl.cdiv(j * out_width, width)
        bottom = tl.cdiv((i + 1) * out_height, height)
        right = tl.cdiv((j + 1) * out_width, width)
        for part in tl.static_range(ROWS * COLUMNS):
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


def assemble(
    x: Float[Tensor, "B C H W"], weight: Float[Tensor, "B G T oH oW"], kernel: int, mirrored: bool = False
) -> Float[Tensor, "B C oH oW"]:
    """Compute `ops.window_assemble` at any ratio of the sizes, or with a mirrored border `ops.mirrored_assemble`.

    Args:
        x: the low-resolution map.
        weight: for each of G groups of channels, the weights of the T = kernel^2 taps; G divides C.
        kernel: side of the window in low-resolution pixels, odd.
        mirrored: whether the border is mirrored, instead of zeros.
    """
    b, c, h, w = x.shape
    x, weight = rows(x), weight.contiguous()
    groups, _, out_h, out_w = weight.shape[1:]
    out = memory_layout.empty_map(x, b, c, out_h, out_w)
    options = {"KERNEL": kernel, "MIRRORED": mirrored, "SUM": _sum(x)}
    if (out_h, out_w) == (2 * h, 2 * w):
        tile = TILES["assemble_twice"].over(c // groups)
        _assemble_twice[_grid(h * w, c, groups, b, tile)](
            x, weight, out, c // groups, h, w, h * w, *x.stride(), *weight.stride()[:3], *out.stride(), **options, **tile
        )  # fmt: skip
        return out
    tile = TILES["assemble"].over(c // groups)
    _assemble[_grid(out_h * out_w, c, groups, b, tile)](
        x, weight, out, c // groups, h, w, out_h, out_w, out_h * out_w,
        *x.stride(), *weight.stride()[:3], 1, *out.stride()[:2], pixel_stride(out), **options, **tile,
    )  # fmt: skip
    return out


def similarity(
    query: Float[Tensor, "B C oH oW"], keys: Float[Tensor, "B C H W"], kernel: int, heads: int, mirrored: bool = False
) -> Float[Tensor, "B {heads} T oH oW"]:
    """Compute `ops.window_head_similarity`, or with a mirrored border `ops.mirrored_similarity`.

    Args:
        query: the high-resolution map of queries.
        keys: the low-resolution map of keys.
        kernel: side of the window in low-resolution pixels, odd.
        heads: parts of the channels that are compared each for itself; divides C.
        mirrored: whether the border is mirrored, instead of zeros.
    """
    b, c, h, w = keys.shape
    query, keys = rows(query), rows(keys)
    out_h, out_w = query.shape[2:]
    out = memory_layout.empty_taps(query, b, heads, kernel * kernel, out_h, out_w)
    tile = TILES["similarity" if c // heads > FEW else "similarity, few channels"].over(c // heads)
    _dot[triton.cdiv(out_h * out_w, tile["BLOCK_P"]) * kernel * kernel, heads, b](
        query, keys, out, c // heads, h, w, out_h, out_w, out_h * out_w,
        *query.stride()[:2], pixel_stride(query), *keys.stride(), *out.stride()[:3], pixel_stride(out),
        KERNEL=kernel, MIRRORED=mirrored, SUM=_sum(keys), **tile,
    )  # fmt: skip
    return out


def scatter(
    source: Float[Tensor, "B C oH oW"],
    weight: Float[Tensor, "B G T oH oW"],
    kernel: int,
    height: int,
    width: int,
    mirrored: bool = False,
) -> Float[Tensor, "B C {height} {width}"]:
    """Add what each output pixel holds, times its weights, to its window: the transpose of `assemble`.

    Args:
        source: the high-resolution map.
        weight: for each of G groups of channels, the weights of the T = kernel^2 taps; G divides C.
        kernel: side of the window in low-resolution pixels, odd.
        height: rows of the result.
        width: columns of the result.
        mirrored: whether the border is mirrored, instead of zeros.
    """
    b, c, out_h, out_w = source.shape
    source, weight = rows(source), weight.contiguous()
    groups, margin = weight.shape[1], kernel // 2 if mirrored else 0
    high, wide = height + 2 * margin, width + 2 * margin
    dtype = coordinate_dtype(source.dtype) if mirrored else source.dtype
    out = memory_layout.empty_map(source.new_empty((), dtype=dtype), b, c, high, wide)
    tile = TILES["scatter"].over(c // groups)
    _scatter[_grid(high * wide, c, groups, b, tile)](
        source, weight, out, c // groups, height, width, out_h, out_w, high * wide,
        *source.stride()[:2], pixel_stride(source), *weight.stride()[:3], 1, *out.stride()[:2], pixel_stride(out),
        KERNEL=kernel, MARGIN=margin, ROWS=triton.cdiv(out_h, height), COLUMNS=triton.cdiv(out_w, width),
        SUM=_sum(source), **tile,
    )  # fmt: skip
    return fold(out, margin, source.dtype) if mirrored else out


def _grid(pixels: int, channels: int, units: int, batch: int, tile: dict[str, Any]) -> tuple[int, int, int]:
    """Blocks of pixels, blocks of channels of every unit of them, images."""
    return triton.cdiv(pixels, tile["BLOCK_P"]), units * triton.cdiv(channels // units, tile["BLOCK_C"]), batch


def pixel_stride(out: Tensor) -> int:
    """Elements from one pixel to the next, row after row, of a map whose rows follow each other."""
    return out.stride(-1) if out.shape[-1] > 1 else out.stride(-2)


def rows(map: Tensor) -> Tensor:
    """Return the map channels-last: a kernel then reads whole stretches of memory, which is several times faster."""
    return map.contiguous(memory_format=torch.channels_last)


def _sum(x: Tensor) -> tl.dtype:
    return tl.float64 if x.dtype == torch.float64 else tl.float32
