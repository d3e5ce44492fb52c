"""The gradients of attention to boxes of low-resolution cells as Triton kernels, see `cells`."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from upbench.ops import memory_layout
from upbench.ops.triton.cells import CELLS, PATCH, Call, pixels_of, read, span, steps_of, weights_of
from upbench.ops.triton.window import rows


@triton.jit
def _changes(
    grad, x, p, there, n, inside, group, channels, g_c, g_p, x_c, x_n,
    SUM: tl.constexpr, PIXELS: tl.constexpr, CELLS: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """The gradient of the averaged weights of a group: grad[p] . x[n] over its channels, [pixels, cells]."""
    total = tl.zeros((PIXELS, CELLS), dtype=SUM)
    for start in range(0, channels, BLOCK_C):
        c = start + tl.arange(0, BLOCK_C)
        g = read(grad + group * channels * g_c, p, c, g_p, g_c, there, c < channels)
        value = read(x + group * channels * x_c, c, n, x_c, x_n, c < channels, inside)
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
    i, j = pixels_of(program, out_height, out_width, HIGH, WIDE)
    there, p = (i < out_height) & (j < out_width), i * out_width + j
    top, bottom, left, right = span(rows, columns, program, out_height, out_width, HIGH, WIDE)
    broad, several, d = right - left, heads // groups, tl.arange(0, DEPTH)
    first = (batch * heads) * out_height * out_width
    mean = tl.zeros((HIGH * WIDE,), dtype=SUM)
    total = tl.zeros((HIGH * WIDE, DEPTH), dtype=SUM)
    apart = tl.zeros((HIGH * WIDE, DEPTH), dtype=SUM)
    for start in range(0, (bottom - top) * broad, CELLS):
        t = start + tl.arange(0, CELLS)
        inside, row, column = t < (bottom - top) * broad, top + t // broad, left + t % broad
        n = row * width + column
        weights = weights_of(
            query + batch * q_b, keys + batch * k_b, sums + first, rows, columns, i, j, p, there, row, column, inside, head,
            each, width, out_height * out_width, FACTOR, q_c, q_p, k_c, k_n, SUM, DEPTH,
        )  # fmt: skip
        change = weights / several * _changes(
            grad + batch * g_b, x + batch * x_b, p, there, n, inside, head // several, channels, g_c, g_p, x_c, x_n,
            SUM, HIGH * WIDE, CELLS, BLOCK_C,
        )  # fmt: skip
        k = read(keys + batch * k_b + head * each * k_c, n, d, k_n, k_c, inside, d < each).to(SUM)
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
                weights += weights_of(
                    query + batch * q_b, keys + batch * k_b, sums + first, rows, columns, i, j, p, there, row, column, inside,
                    head, each, width, pixels, FACTOR, q_c, q_p, k_c, k_n, SUM, DEPTH,
                )  # fmt: skip
            g = read(grad + batch * g_b + group * channels * g_c, p, c, g_p, g_c, there, c < channels).to(SUM)
            total += tl.dot(tl.trans(weights / several), g, input_precision="ieee", out_dtype=SUM)
        else:
            weights = weights_of(
                query + batch * q_b, keys + batch * k_b, sums + first, rows, columns, i, j, p, there, row, column, inside,
                unit, each, width, pixels, FACTOR, q_c, q_p, k_c, k_n, SUM, DEPTH,
            )  # fmt: skip
            change = _changes(
                grad + batch * g_b, x + batch * x_b, p, there, n, inside, group, channels, g_c, g_p, x_c, x_n,
                SUM, PIXELS, CELLS, BLOCK_C,
            )  # fmt: skip
            mean = tl.load(means + first + unit * pixels + p, mask=there, other=0.0)
            change = weights * (change / several - mean[:, None])
            q = read(query + batch * q_b + unit * each * q_c, p, c, q_p, q_c, there, c < each).to(SUM)
            total += tl.dot(tl.trans(change), q, input_precision="ieee", out_dtype=SUM) * FACTOR
    if VALUES:
        place, real = (group * channels + c) * o_c, c < channels
    else:
        place, real = (unit * each + c) * o_c, c < each
    place = out + batch * o_b + place[None, :] + n.to(tl.int64)[:, None] * o_n
    tl.store(place, total.to(out.dtype.element_ty), mask=inside[:, None] & real[None, :])


def slopes(
    grad: Tensor, query: Tensor, keys: Tensor, x: Tensor, heads: int, groups: int, window: float, kernel: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `cell_attention_slopes_fused`.

    Args:
        grad: [B, C, H', W'], the gradient of the output.
        query: [B, D, H', W'], the high-resolution map of queries.
        keys: [B, D, H, W], the low-resolution map of keys.
        x: [B, C, H, W], the low-resolution map of values.
        heads: attention heads; divides D.
        groups: groups of channels of x, each with the mean of the weights of its heads; divides heads and C.
        window: half the side of the window as a part of the map; 0 for all cells or with a kernel.
        kernel: side of the box of cells around the parent; 0 without one.

    Returns:
        The gradients in query, keys and x.
    """
    call, grad = Call(query, keys, x, heads, groups, window, kernel), rows(grad)
    dquery, dkeys, dx = (memory_layout.empty_map(t, *t.shape) for t in (query, keys, x))
    means = call.per_head()
    maps, given = (grad, call.query, call.keys, call.x), (call.each, heads, groups, call.channels)
    steps = [step for each in maps for step in steps_of(each)]
    _query_slopes[call.patches, heads, call.batch](
        *maps, call.sums, means, dquery, call.rows, call.columns, *given, *call.sizes, *steps, *steps_of(dquery),
        BLOCK_C=call.block, **call.options,
    )  # fmt: skip
    options = {name: value for name, value in call.options.items() if name not in ("HIGH", "WIDE")}
    blocks = call.height * triton.cdiv(call.width, CELLS)
    for out, units in ((dx, call.parts), (dkeys, heads)):
        _cell_slopes[blocks, units, call.batch](
            *maps, call.sums, means, out, call.rows, call.columns, call.seers, call.standers, *given, *call.sizes,
            *steps, *steps_of(out), VALUES=out is dx, PIXELS=PATCH[0] * PATCH[1], BLOCK_C=call.block, **options,
        )  # fmt: skip
    return dquery, dkeys, dx
