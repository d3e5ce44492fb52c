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
def _pixels(program, out_height, out_width, HIGH: tl.constexpr, WIDE: tl.constexpr):
    """Rows and columns of the output pixels of a patch."""
    across = tl.cdiv(out_width, WIDE)
    t = tl.arange(0, HIGH * WIDE)
    return program // across * HIGH + t // WIDE, program % across * WIDE + t % WIDE


@triton.jit
def _span(rows, columns, program, out_height, out_width, HIGH: tl.constexpr, WIDE: tl.constexpr):
    """The union of the windows of a patch: first row and column of cells, the ones after the last."""
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
def _read(base, first, second, first_step, second_step, first_there, second_there):
    """What a map holds at two lists of positions along two of its axes: [first, second]."""
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
    q = _read(query + head * each * q_c, p, d, q_p, q_c, there, d < each)
    k = _read(keys + head * each * k_c, d, n, k_c, k_n, d < each, inside)
    return tl.dot(q, k, input_precision="ieee", out_dtype=SUM) * FACTOR


@triton.jit
def _sums(
    query, keys, sums, rows, columns, each, heads, width, out_height, out_width,
    q_b, q_c, q_p, k_b, k_c, k_n,
    FACTOR: tl.constexpr, SUM: tl.constexpr, DEPTH: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr, CELLS: tl.constexpr,
):  # fmt: skip
    """sums[b, head, p] = log of the sum over the cells that p sees of exp(logit)."""
    program, head, batch = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    i, j = _pixels(program, out_height, out_width, HIGH, WIDE)
    there, p = (i < out_height) & (j < out_width), i * out_width + j
    top, bottom, left, right = _span(rows, columns, program, out_height, out_width, HIGH, WIDE)
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
def _weights(
    query, keys, sums, rows, columns, i, j, p, there, row, column, inside, head, each, width, pixels, FACTOR: tl.constexpr,
    q_c, q_p, k_c, k_n, SUM: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """The weights of a head: [pixels, cells]. query, keys, sums: those of an image."""
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
    i, j = _pixels(program, out_height, out_width, HIGH, WIDE)
    there, p = (i < out_height) & (j < out_width), i * out_width + j
    top, bottom, left, right = _span(rows, columns, program, out_height, out_width, HIGH, WIDE)
    broad, several = right - left, heads // groups
    total = tl.zeros((HIGH * WIDE, BLOCK_C), dtype=SUM)
    for start in range(0, (bottom - top) * broad, CELLS):
        t = start + tl.arange(0, CELLS)
        inside, row, column = t < (bottom - top) * broad, top + t // broad, left + t % broad
        weights = tl.zeros((HIGH * WIDE, CELLS), dtype=SUM)
        for head in range(group * several, group * several + several):
            weights += _weights(
                query + batch * q_b, keys + batch * k_b, sums + batch * heads * out_height * out_width, rows, columns,
                i, j, p, there, row, column, inside, head, each, width, out_height * out_width, FACTOR,
                q_c, q_p, k_c, k_n, SUM, DEPTH,
            )  # fmt: skip
        value = _read(x + batch * x_b + group * channels * x_c, row * width + column, c, x_n, x_c, inside, c < channels)
        total += tl.dot((weights / several).to(value.dtype), value, input_precision="ieee", out_dtype=SUM)
    place = out + batch * o_b + (group * channels + c)[None, :] * o_c + p.to(tl.int64)[:, None] * o_p
    tl.store(place, total.to(out.dtype.element_ty), mask=there[:, None] & (c < channels)[None, :])


@triton.jit
def _changes(
    grad, x, p, there, n, inside, group, channels, g_c, g_p, x_c, x_n,
    SUM: tl.constexpr, PIXELS: tl.constexpr, CELLS: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """The gradient of the averaged weights of a group: grad[p] . x[n] over its channels, [pixels, cells]."""
    total = tl.zeros((PIXELS, CELLS), dtype=SUM)
    for start in range(0, channels, BLOCK_C):
        c = start + tl.arange(0, BLOCK_C)
        g = _read(grad + group * channels * g_c, p, c, g_p, g_c, there, c < channels)
        value = _read(x + group * channels * x_c, c, n, x_c, x_n, c < channels, inside)
        total += tl.dot(g, value, input_precision="ieee", out_dtype=SUM)
    return total


@triton.jit
def _query_slopes(
    grad, query, keys, x, sums, means, out, rows, columns, each, heads, groups, channels, width, out_height, out_width,
    g_b, g_c, g_p, q_b, q_c, q_p, k_b, k_c, k_n, x_b, x_c, x_n, o_b, o_c, o_p,
    FACTOR: tl.constexpr, SUM: tl.constexpr, DEPTH: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr, CELLS: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """The gradient of the query, and means[b, head, p] = sum over cells of weight * gradient of the weight."""
    program, head, batch = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    i, j = _pixels(program, out_height, out_width, HIGH, WIDE)
    there, p = (i < out_height) & (j < out_width), i * out_width + j
    top, bottom, left, right = _span(rows, columns, program, out_height, out_width, HIGH, WIDE)
    broad, several, d = right - left, heads // groups, tl.arange(0, DEPTH)
    first = (batch * heads) * out_height * out_width
    mean = tl.zeros((HIGH * WIDE,), dtype=SUM)
    total = tl.zeros((HIGH * WIDE, DEPTH), dtype=SUM)
    apart = tl.zeros((HIGH * WIDE, DEPTH), dtype=SUM)
    for start in range(0, (bottom - top) * broad, CELLS):
        t = start + tl.arange(0, CELLS)
        inside, row, column = t < (bottom - top) * broad, top + t // broad, left + t % broad
        n = row * width + column
        weights = _weights(
            query + batch * q_b, keys + batch * k_b, sums + first, rows, columns, i, j, p, there, row, column, inside, head,
            each, width, out_height * out_width, FACTOR, q_c, q_p, k_c, k_n, SUM, DEPTH,
        )  # fmt: skip
        change = weights / several * _changes(
            grad + batch * g_b, x + batch * x_b, p, there, n, inside, head // several, channels, g_c, g_p, x_c, x_n,
            SUM, HIGH * WIDE, CELLS, BLOCK_C,
        )  # fmt: skip
        k = _read(keys + batch * k_b + head * each * k_c, n, d, k_n, k_c, inside, d < each).to(SUM)
        # weight * (change - mean), whose mean is known only at the end: both parts are summed.
        total += tl.dot(change, k, input_precision="ieee", out_dtype=SUM)
        apart += tl.dot(weights, k, input_precision="ieee", out_dtype=SUM)
        mean += tl.sum(change, axis=1)
    tl.store(means + first + head * out_height * out_width + p, mean, mask=there)
    total = (total - mean[:, None] * apart) * FACTOR
    place = out + batch * o_b + (head * each + d)[None, :] * o_c + p.to(tl.int64)[:, None] * o_p
    tl.store(place, total.to(out.dtype.element_ty), mask=there[:, None] & (d < each)[None, :])


@triton.jit
def _cell_slopes(
    grad, query, keys, x, sums, means, out, rows, columns, seers, standers,
    each, heads, groups, channels, width, out_height, out_width,
    g_b, g_c, g_p, q_b, q_c, q_p, k_b, k_c, k_n, x_b, x_c, x_n, o_b, o_c, o_n,
    VALUES: tl.constexpr, FACTOR: tl.constexpr, SUM: tl.constexpr, DEPTH: tl.constexpr, PIXELS: tl.constexpr, CELLS: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """The gradient of x (VALUES; some channels of a group) or of the keys (a head), of some cells of one row.

    seers, standers: of each row and column of cells the first output row and column that see it, and the one after the last.
    """
    across, batch = tl.cdiv(width, CELLS), tl.program_id(2).to(tl.int64)
    row = tl.program_id(0) // across + tl.zeros((CELLS,), dtype=tl.int32)
    left = tl.program_id(0) % across * CELLS
    column = left + tl.arange(0, CELLS)
    inside, n = column < width, row * width + column
    top, bottom = (
        tl.load(seers + 2 * (tl.program_id(0) // across)),
        tl.load(seers + 2 * (tl.program_id(0) // across) + 1),
    )
    begin, end = tl.load(standers + 2 * left), tl.load(standers + 2 * (tl.minimum(left + CELLS, width) - 1) + 1)
    broad, several, pixels = end - begin, heads // groups, out_height * out_width
    first = batch * heads * pixels
    blocks = tl.cdiv(channels, BLOCK_C)
    unit = tl.program_id(1)
    if VALUES:
        group, c = unit // blocks, unit % blocks * BLOCK_C + tl.arange(0, BLOCK_C)
        total = tl.zeros((CELLS, BLOCK_C), dtype=SUM)
    else:
        group, c = unit // several, tl.arange(0, DEPTH)
        total = tl.zeros((CELLS, DEPTH), dtype=SUM)
    for start in range(0, (bottom - top) * broad, PIXELS):
        t = start + tl.arange(0, PIXELS)
        there, i, j = t < (bottom - top) * broad, top + t // broad, begin + t % broad
        p = i * out_width + j
        if VALUES:
            weights = tl.zeros((PIXELS, CELLS), dtype=SUM)
            for head in range(group * several, group * several + several):
                weights += _weights(
                    query + batch * q_b, keys + batch * k_b, sums + first, rows, columns, i, j, p, there, row, column, inside,
                    head, each, width, pixels, FACTOR, q_c, q_p, k_c, k_n, SUM, DEPTH,
                )  # fmt: skip
            g = _read(grad + batch * g_b + group * channels * g_c, p, c, g_p, g_c, there, c < channels).to(SUM)
            total += tl.dot(tl.trans(weights / several), g, input_precision="ieee", out_dtype=SUM)
        else:
            weights = _weights(
                query + batch * q_b, keys + batch * k_b, sums + first, rows, columns, i, j, p, there, row, column, inside,
                unit, each, width, pixels, FACTOR, q_c, q_p, k_c, k_n, SUM, DEPTH,
            )  # fmt: skip
            change = _changes(
                grad + batch * g_b, x + batch * x_b, p, there, n, inside, group, channels, g_c, g_p, x_c, x_n,
                SUM, PIXELS, CELLS, BLOCK_C,
            )  # fmt: skip
            mean = tl.load(means + first + unit * pixels + p, mask=there, other=0.0)
            change = weights * (change / several - mean[:, None])
            q = _read(query + batch * q_b + unit * each * q_c, p, c, q_p, q_c, there, c < each).to(SUM)
            total += tl.dot(tl.trans(change), q, input_precision="ieee", out_dtype=SUM) * FACTOR
    if VALUES:
        place, real = (group * channels + c) * o_c, c < channels
    else:
        place, real = (unit * each + c) * o_c, c < each
    place = out + batch * o_b + place[None, :] + n.to(tl.int64)[:, None] * o_n
    tl.store(place, total.to(out.dtype.element_ty), mask=inside[:, None] & real[None, :])


@lru_cache(256)
def _tables(outputs: int, cells: int, window: float, kernel: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Of each output pixel of one side its first cell and the one after the last, and of each cell the same of its pixels."""
    first, last = cell_ranges(outputs, cells, window, kernel)
    cell = torch.arange(cells)
    seers = torch.stack((torch.searchsorted(last, cell, right=True), torch.searchsorted(first, cell, right=True)), 1)
    return torch.stack((first, last), 1).int().to(device), seers.int().to(device)


def _steps(x: Tensor) -> tuple[int, int, int]:
    return x.stride(0), x.stride(1), pixel_stride(x)


class _Call:
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
            *_steps(self.query), *_steps(self.keys), **self.options,
        )  # fmt: skip

    def per_head(self) -> Tensor:
        """One number for each output pixel and head."""
        return self.x.new_empty((self.batch, self.heads, self.out_height * self.out_width), dtype=self.sum)

    @property
    def sizes(self) -> tuple[int, int, int]:
        return self.width, self.out_height, self.out_width

    @property
    def options(self) -> dict[str, Any]:
        patch: dict[str, Any] = {"HIGH": PATCH[0], "WIDE": PATCH[1], "CELLS": CELLS}
        # A constant of the kernel: as an argument it would be rounded to float32.
        patch["FACTOR"] = self.each**-0.5
        return {"SUM": tl.float64 if self.sum == torch.float64 else tl.float32, "DEPTH": self.depth, **patch}


def attend(query: Tensor, keys: Tensor, x: Tensor, heads: int, groups: int, window: float, kernel: int) -> Tensor:
    """Compute `cell_attention_fused`."""
    call = _Call(query, keys, x, heads, groups, window, kernel)
    out = memory_layout.empty_map(x, *x.shape[:2], *query.shape[2:])
    _attend[call.patches, call.parts, call.batch](
        call.query, call.keys, call.x, call.sums, out, call.rows, call.columns, call.each, heads, groups, call.channels,
        *call.sizes, *_steps(call.query), *_steps(call.keys), *_steps(call.x), *_steps(out),
        BLOCK_C=call.block, **call.options,
    )  # fmt: skip
    return out


def slopes(
    grad: Tensor, query: Tensor, keys: Tensor, x: Tensor, heads: int, groups: int, window: float, kernel: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `cell_attention_slopes_fused`."""
    call, grad = _Call(query, keys, x, heads, groups, window, kernel), rows(grad)
    dquery, dkeys, dx = (memory_layout.empty_map(t, *t.shape) for t in (query, keys, x))
    means = call.per_head()
    maps, given = (grad, call.query, call.keys, call.x), (call.each, heads, groups, call.channels)
    steps = [step for each in maps for step in _steps(each)]
    _query_slopes[call.patches, heads, call.batch](
        *maps, call.sums, means, dquery, call.rows, call.columns, *given, *call.sizes, *steps, *_steps(dquery),
        BLOCK_C=call.block, **call.options,
    )  # fmt: skip
    options = {name: value for name, value in call.options.items() if name not in ("HIGH", "WIDE")}
    blocks = call.height * triton.cdiv(call.width, CELLS)
    for out, units in ((dx, call.parts), (dkeys, heads)):
        _cell_slopes[blocks, units, call.batch](
            *maps, call.sums, means, out, call.rows, call.columns, call.seers, call.standers, *given, *call.sizes,
            *steps, *_steps(out), VALUES=out is dx, PIXELS=PATCH[0] * PATCH[1], BLOCK_C=call.block, **options,
        )  # fmt: skip
    return dquery, dkeys, dx
