"""Attention to boxes of low-resolution cells as Triton kernels, forward and backward, without the weights of all cells.

A program takes a patch of output pixels and walks over the union of their windows, some cells at a time; what a pixel does
not see is masked. The logarithm of every softmax's sum is kept (one number a pixel and head), so that the weights are
made again wherever they are needed. The gradients of keys and values are gathered cell by cell from the pixels that see
it: nothing is added atomically. Sums run in float32 (float64 for float64).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from upbench.ops import memory_layout
from upbench.ops.cell_windows import cell_ranges
from upbench.ops.triton.window import pixel_stride, rows

PATCH = (8, 8)
"""Rows and columns of output pixels of a program."""
CELLS = 32
"""Cells that a program takes at a time."""
CHANNELS = 64
"""Channels of the values that a program sums, at most."""


@triton.jit
def pixels_of(program, out_height, out_width, HIGH: tl.constexpr, WIDE: tl.constexpr):
    """Return rows and columns of the output pixels of a patch of HIGH x WIDE, which `program` numbers."""
    across = tl.cdiv(out_width, WIDE)
    t = tl.arange(0, HIGH * WIDE)
    return program // across * HIGH + t // WIDE, program % across * WIDE + t % WIDE


@triton.jit
def span(rows, columns, program, out_height, out_width, HIGH: tl.constexpr, WIDE: tl.constexpr):
    """Return the union of the windows of a patch: first row, row after the last, and the same of columns of cells."""
    across = tl.cdiv(out_width, WIDE)
    i, j = program // across * HIGH, program % across * WIDE
    bottom, right = tl.minimum(i + HIGH, out_height) - 1, tl.minimum(j + WIDE, out_width) - 1
    return (
        tl.load(rows + 2 * i),
        tl.load(rows + 2 * bottom + 1),
        tl.load(columns + 2 * j),
        tl.load(columns + 2 * right + 1),
    )


@triton.jit
def _seen(rows, columns, i, j, there, row, column, inside):
    """Whether the pixels (i, j) see the cells (row, column): [pixels, cells]."""
    top = tl.load(rows + 2 * i, mask=there, other=0)[:, None]
    bottom = tl.load(rows + 2 * i + 1, mask=there, other=0)[:, None]
    left = tl.load(columns + 2 * j, mask=there, other=0)[:, None]
    right = tl.load(columns + 2 * j + 1, mask=there, other=0)[:, None]
    high = (row[None, :] >= top) & (row[None, :] < bottom)
    return high & (column[None, :] >= left) & (column[None, :] < right) & inside[None, :]


@triton.jit
def read(base, first, second, first_step, second_step, first_there, second_there):
    """Read a map at two lists of positions along two of its axes: [first, second]; zero where either is not there."""
    place = base + first.to(tl.int64)[:, None] * first_step + second.to(tl.int64)[None, :] * second_step
    return tl.load(place, mask=first_there[:, None] & second_there[None, :], other=0.0)


@triton.jit
def _logits(
    query,
    keys,
    p,
    there,
    n,
    inside,
    head,
    each,
    q_c,
    q_p,
    k_c,
    k_n,
    FACTOR: tl.constexpr,
    SUM: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """Scaled products of pixels and cells: [pixels, cells]."""
    d = tl.arange(0, DEPTH)
    q = read(query + head * each * q_c, p, d, q_p, q_c, there, d < each)
    k = read(keys + head * each * k_c, d, n, k_c, k_n, d < each, inside)
    return tl.dot(q, k, input_precision="ieee", out_dtype=SUM) * FACTOR


@triton.jit
def _sums(
    query, keys, sums, rows, columns, each, heads, width, out_height, out_width,
    q_b, q_c, q_p, k_b, k_c, k_n,
    FACTOR: tl.constexpr, SUM: tl.constexpr, DEPTH: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr, CELLS: tl.constexpr,
):  # fmt: skip
    """sums[b, head, p] = log of the sum over the cells that p sees of exp(logit)."""
    program, head, batch = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    i, j = pixels_of(program, out_height, out_width, HIGH, WIDE)
    there, p = (i < out_height) & (j < out_width), i * out_width + j
    top, bottom, left, right = span(rows, columns, program, out_height, out_width, HIGH, WIDE)
    broad = right - left
    most = tl.full((HIGH * WIDE,), float("-inf"), dtype=SUM)
    total = tl.zeros((HIGH * WIDE,), dtype=SUM)
    for start in range(0, (bottom - top) * broad, CELLS):
        t = start + tl.arange(0, CELLS)
        inside, row, column = t < (bottom - top) * broad, top + t // broad, left + t % broad
        logits = _logits(query + batch * q_b, keys + batch * k_b, p, there, row * width + column, inside, head, each,
                         q_c, q_p, k_c, k_n, FACTOR, SUM, DEPTH)  # fmt: skip
        seen = _seen(rows, columns, i, j, there, row, column, inside)
        logits = tl.where(seen, logits, float("-inf"))
        larger = tl.maximum(most, tl.max(logits, axis=1))
        base = tl.where(larger == float("-inf"), 0.0, larger)
        total = total * tl.exp(most - base) + tl.sum(tl.exp(logits - base[:, None]), axis=1)
        most = larger
    tl.store(
        sums + (batch * heads + head) * out_height * out_width + p,
        most + tl.log(tl.where(total > 0, total, 1.0)),
        mask=there,
    )


@triton.jit
def weights_of(
    query, keys, sums, rows, columns, i, j, p, there, row, column, inside, head, each, width, pixels, FACTOR: tl.constexpr,
    q_c, q_p, k_c, k_n, SUM: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """Return the weights of a head: [pixels, cells]. query, keys and sums are those of one image."""
    logits = _logits(
        query, keys, p, there, row * width + column, inside, head, each, q_c, q_p, k_c, k_n, FACTOR, SUM, DEPTH
    )
    total = tl.load(sums + head * pixels + p, mask=there, other=0.0)
    seen = _seen(rows, columns, i, j, there, row, column, inside)
    return tl.where(seen, tl.exp(logits - total[:, None]), 0.0)


@triton.jit
def _attend(
    query, keys, x, sums, out, rows, columns, each, heads, groups, channels, width, out_height, out_width,
    q_b, q_c, q_p, k_b, k_c, k_n, x_b, x_c, x_n, o_b, o_c, o_p,
    FACTOR: tl.constexpr, SUM: tl.constexpr, DEPTH: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr, CELLS: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """out[c, p] = sum over cells n of the mean of the weights of the heads of c's group * x[c, n]."""
    blocks = tl.cdiv(channels, BLOCK_C)
    program, group, batch = tl.program_id(0), tl.program_id(1) // blocks, tl.program_id(2).to(tl.int64)
    c = tl.program_id(1) % blocks * BLOCK_C + tl.arange(0, BLOCK_C)
    i, j = pixels_of(program, out_height, out_width, HIGH, WIDE)
    there, p = (i < out_height) & (j < out_width), i * out_width + j
    top, bottom, left, right = span(rows, columns, program, out_height, out_width, HIGH, WIDE)
    broad, several = right - left, heads // groups
    total = tl.zeros((HIGH * WIDE, BLOCK_C), dtype=SUM)
    for start in range(0, (bottom - top) * broad, CELLS):
        t = start + tl.arange(0, CELLS)
        inside, row, column = t < (bottom - top) * broad, top + t // broad, left + t % broad
        weights = tl.zeros((HIGH * WIDE, CELLS), dtype=SUM)
        for head in range(group * several, group * several + several):
            weights += weights_of(
                query + batch * q_b, keys + batch * k_b, sums + batch * heads * out_height * out_width, rows, columns,
                i, j, p, there, row, column, inside, head, each, width, out_height * out_width, FACTOR,
                q_c, q_p, k_c, k_n, SUM, DEPTH,
            )  # fmt: skip
        value = read(x + batch * x_b + group * channels * x_c, row * width + column, c, x_n, x_c, inside, c < channels)
        total += tl.dot((weights / several).to(value.dtype), value, input_precision="ieee", out_dtype=SUM)
    place = out + batch * o_b + (group * channels + c)[None, :] * o_c + p.to(tl.int64)[:, None] * o_p
    tl.store(place, total.to(out.dtype.element_ty), mask=there[:, None] & (c < channels)[None, :])


@lru_cache(256)
def _tables(outputs: int, cells: int, window: float, kernel: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Of each output pixel of one side its first cell and the one after the last, and of each cell the same of its pixels."""
    first, last = cell_ranges(outputs, cells, window, kernel)
    cell = torch.arange(cells)
    seers = torch.stack((torch.searchsorted(last, cell, right=True), torch.searchsorted(first, cell, right=True)), 1)
    return torch.stack((first, last), 1).int().to(device), seers.int().to(device)


def steps_of(x: Tensor) -> tuple[int, int, int]:
    """Return the steps of a map in memory, in values: from image to image, channel to channel, pixel to pixel."""
    return x.stride(0), x.stride(1), pixel_stride(x)


class Call:
    """What all kernels of one call take."""

    def __init__(
        self, query: Tensor, keys: Tensor, x: Tensor, heads: int, groups: int, window: float, kernel: int
    ) -> None:
        self.query, self.keys, self.x = rows(query), rows(keys), rows(x)
        (self.batch, dim, self.out_height, self.out_width), (_, channels, self.height, self.width) = (
            query.shape,
            x.shape,
        )
        self.heads, self.groups, self.each, self.channels = heads, groups, dim // heads, channels // groups
        self.rows, self.seers = _tables(self.out_height, self.height, window, kernel, x.device)
        self.columns, self.standers = _tables(self.out_width, self.width, window, kernel, x.device)
        self.sum = torch.promote_types(x.dtype, torch.float32)
        self.depth = max(16, triton.next_power_of_2(self.each))
        self.block = max(16, min(CHANNELS, triton.next_power_of_2(self.channels)))
        self.patches = triton.cdiv(self.out_height, PATCH[0]) * triton.cdiv(self.out_width, PATCH[1])
        self.parts = triton.cdiv(self.channels, self.block) * groups
        self.sums = self.per_head()
        _sums[self.patches, heads, self.batch](
            self.query, self.keys, self.sums, self.rows, self.columns, self.each, heads, *self.sizes,
            *steps_of(self.query), *steps_of(self.keys), **self.options,
        )  # fmt: skip

    def per_head(self) -> Tensor:
        """Allocate one number for each output pixel and head."""
        return self.x.new_empty((self.batch, self.heads, self.out_height * self.out_width), dtype=self.sum)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Columns of the map of cells, rows and columns of the output."""
        return self.width, self.out_height, self.out_width

    @property
    def options(self) -> dict[str, Any]:
        """The constants that all kernels are compiled with."""
        patch: dict[str, Any] = {"HIGH": PATCH[0], "WIDE": PATCH[1], "CELLS": CELLS}
        # A constant of the kernel: as an argument it would be rounded to float32.
        patch["FACTOR"] = self.each**-0.5
        return {"SUM": tl.float64 if self.sum == torch.float64 else tl.float32, "DEPTH": self.depth, **patch}


def attend(query: Tensor, keys: Tensor, x: Tensor, heads: int, groups: int, window: float, kernel: int) -> Tensor:
    """Compute `cell_attention_fused`.

    Args:
        query: [B, D, H', W'], the high-resolution map of queries.
        keys: [B, D, H, W], the low-resolution map of keys.
        x: [B, C, H, W], the low-resolution map of values.
        heads: attention heads; divides D.
        groups: groups of channels of x, each with the mean of the weights of its heads; divides heads and C.
        window: half the side of the window as a part of the map; 0 for all cells or with a kernel.
        kernel: side of the box of cells around the parent; 0 without one.

    Returns:
        [B, C, H', W'], in the memory order of `memory_layout.empty_map`.
    """
    call = Call(query, keys, x, heads, groups, window, kernel)
    out = memory_layout.empty_map(x, *x.shape[:2], *query.shape[2:])
    _attend[call.patches, call.parts, call.batch](
        call.query, call.keys, call.x, call.sums, out, call.rows, call.columns, call.each, heads, groups, call.channels,
        *call.sizes, *steps_of(call.query), *steps_of(call.keys), *steps_of(call.x), *steps_of(out),
        BLOCK_C=call.block, **call.options,
    )  # fmt: skip
    return out
