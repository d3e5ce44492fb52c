"""Fused attention to low-resolution cells on the CPU: products of matrices, one for each block of output pixels.

A block is compared with the union of the windows of its pixels. Bands of rows of blocks are taken one after another, so
that what is held at once does not grow with the map. Half precision is computed in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from upbench.ops import thresholds
from upbench.ops.cell_windows import LONGEST, Blocks
from upbench.ops.cell_windows import blocks as cut
from upbench.ops.cpu import boxes, native
from upbench.ops.memory_layout import empty_map
from upbench.ops.registration import LIBRARY, coordinate_dtype

ENTRIES = 2**18
"""Weights of all heads that are held at once: as many as stay in a processor's own cache."""


class Tile(NamedTuple):
    """A row of blocks of one image: n blocks of h x w output pixels, and the cells of their unions.

    Args:
        rows: the output rows.
        columns: the output columns, fewer than n * w where the last block passes the end.
        cell_rows: the rows of cells that all blocks see.
        cell_columns: the columns of cells of each block: [n, m].
        hidden: whether a pixel does not see a cell: bool [n or 1, h * w, cells], or None where all see all.
        width: output columns of a block.
    """

    rows: slice
    columns: slice
    cell_rows: slice
    cell_columns: Tensor
    hidden: Tensor | None
    width: int

    def pixels(self, x: Tensor, parts: int) -> Tensor:
        """Return what one image holds at the output pixels: [C, H', W'] -> [n, parts, h * w, C / parts]."""
        n = len(self.cell_columns)
        part = x[:, self.rows, self.columns].movedim(0, -1)
        missing = n * self.width - part.shape[1]
        if missing:
            part = torch.nn.functional.pad(part, (0, 0, 0, missing))
        h = part.shape[0]
        part = part.reshape(h, n, self.width, parts, -1).permute(1, 3, 0, 2, 4)
        return part.reshape(n, parts, h * self.width, -1)

    def cells(self, x: Tensor, parts: int) -> Tensor:
        """Return what one image holds at the cells: [H, W, C] -> [n, parts, cells, C / parts]."""
        n, m = self.cell_columns.shape
        part = x[self.cell_rows].index_select(1, self.cell_columns.view(-1))
        part = part.view(part.shape[0], n, m, parts, -1).permute(1, 3, 0, 2, 4)
        return part.reshape(n, parts, -1, part.shape[-1])

    def write(self, source: Tensor, out: Tensor) -> None:
        """Write [n, parts, h * w, C / parts] to the output pixels of one image, [H', W', C]."""
        n, parts, _, each = source.shape
        target = out[self.rows, self.columns].unflatten(2, (parts, each))
        blocks_of = source.view(n, parts, target.shape[0], self.width, each).permute(2, 0, 3, 1, 4)
        whole = target.shape[1] // self.width
        target[:, : whole * self.width].unflatten(1, (whole, self.width)).copy_(blocks_of[:, :whole])
        if whole < n:
            rest = target[:, whole * self.width :]
            rest.copy_(blocks_of[:, whole, : rest.shape[1]])

    def add(self, source: Tensor, out: Tensor) -> None:
        """Add [n, parts, cells, C / parts] to the cells of one image, [H, W, C]."""
        n, m = self.cell_columns.shape
        rows = source.unflatten(2, (-1, m)).permute(2, 0, 3, 1, 4).reshape(-1, n * m, out.shape[2])
        out[self.cell_rows].index_add_(1, self.cell_columns.view(-1), rows)


def tiles(size: Sequence[int], cells: Sequence[int], heads: int, window: float, kernel: int) -> Iterator[Tile]:
    """Cut an output into tiles of no more than `ENTRIES` weights each, where one pixel of each block has fewer.

    Args:
        size: rows and columns of the output.
        cells: rows and columns of cells.
        heads: weights of each pixel and cell.
        window: see `cell_ranges`.
        kernel: see `cell_ranges`.
    """
    entries = max(thresholds.scaled(ENTRIES) // heads, 1)
    if window or kernel:
        across = cut(size[1], cells[1], window, kernel)
    else:
        across = cut(size[1], cells[1], window, kernel, max(min(entries // (cells[0] * cells[1]), size[1]), 1))
    # Of windows in both directions that are about as large a block has about as many rows as it has columns.
    budget = max(entries // (across.size * across.width * min(across.width, cells[0])), 1)
    down = cut(size[0], cells[0], window, kernel, min(budget, LONGEST))
    step = max(entries // (across.size * across.width * down.size * down.width), 1)
    for n, top in enumerate(down.first.tolist()):
        rows = slice(n * down.size, min((n + 1) * down.size, size[0]))
        cell_rows = slice(top, top + down.width)
        for start in range(0, len(across.first), step):
            part = slice(start, start + step)
            columns = slice(start * across.size, min((start + step) * across.size, size[1]))
            cell_columns = across.first[part, None] + torch.arange(across.width)
            hidden = _hidden(down, n, rows.stop - rows.start, across, part)
            yield Tile(rows, columns, cell_rows, cell_columns, hidden, across.size)


def _hidden(down: Blocks, n: int, height: int, across: Blocks, part: slice) -> Tensor | None:
    if down.seen is None and across.seen is None:
        return None
    ones = torch.ones(1, 1, 1, dtype=torch.bool)
    rows = (ones if down.seen is None else down.seen[n : n + 1, :height])[:, :, None, :, None]
    columns = (ones if across.seen is None else across.seen[part])[:, None, :, None, :]
    shape = (-1, height, across.size, down.width, across.width)
    return (rows & columns).logical_not_().expand(shape).flatten(3).flatten(1, 2)


def _weights(query: Tensor, keys: Tensor, hidden: Tensor | None) -> Tensor:
    """Softmax of the scaled products of pixels and cells: [n, heads, p, d] and [n, heads, cells, d] -> [n, heads, p, cells]."""
    logits = (query * query.shape[-1] ** -0.5) @ keys.transpose(2, 3)
    if hidden is not None:
        # Not added: a key that is not a number must stay hidden.
        logits.masked_fill_(hidden.unsqueeze(1), -torch.inf)
    return logits.softmax(-1)


def _averaged(weights: Tensor, groups: int) -> Tensor:
    """The mean over the heads of each group: [n, heads, p, cells] -> [n, groups, p, cells]."""
    heads = weights.shape[1]
    return weights if groups == heads else weights.unflatten(1, (groups, heads // groups)).mean(2)


def cell_attention(
    query: Tensor, keys: Tensor, x: Tensor, heads: int, groups: int, window: float, kernel: int
) -> Tensor:
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
        [B, C, H', W'], channels-last.
    """
    if native.can_run_native(query, keys, x):
        return boxes.attend(query, keys, x, heads, groups, window, kernel)
    out, dtype = empty_map(x, *x.shape[:2], *query.shape[2:]), coordinate_dtype(x.dtype)
    for b in range(x.shape[0]):
        held, values = (t[b].to(dtype).movedim(0, -1).contiguous() for t in (keys, x))
        for tile in tiles(query.shape[2:], keys.shape[2:], heads, window, kernel):
            pixels = tile.pixels(query[b], heads).to(dtype)
            weights = _averaged(_weights(pixels, tile.cells(held, heads), tile.hidden), groups)
            tile.write(weights @ tile.cells(values, groups), out[b].movedim(0, -1))
    return out


def cell_attention_slopes(
    grad: Tensor,
    query: Tensor,
    keys: Tensor,
    x: Tensor,
    heads: int,
    groups: int,
    window: float,
    kernel: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `cell_attention_slopes_fused`: the weights of each tile anew, then their gradients.

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
        The gradients in query, keys and x, channels-last.
    """
    dquery, dkeys, dx = (empty_map(t, *t.shape) for t in (query, keys, x))
    dtype, factor = coordinate_dtype(x.dtype), (query.shape[1] // heads) ** -0.5
    for b in range(x.shape[0]):
        held, values = (t[b].to(dtype).movedim(0, -1).contiguous() for t in (keys, x))
        to_keys, to_values = torch.zeros_like(held), torch.zeros_like(values)
        for tile in tiles(query.shape[2:], keys.shape[2:], heads, window, kernel):
            pixels, cells = tile.pixels(query[b], heads).to(dtype), tile.cells(held, heads)
            slope = tile.pixels(grad[b], groups).to(dtype)
            weights = _weights(pixels, cells, tile.hidden)
            tile.add(_averaged(weights, groups).transpose(2, 3) @ slope, to_values)
            change = slope @ tile.cells(values, groups).transpose(2, 3)
            change = change.mul_(groups / heads).repeat_interleave(heads // groups, 1).mul_(weights)
            change.sub_(weights.mul_(change.sum(-1, keepdim=True)))
            tile.write((change @ cells).mul_(factor), dquery[b].movedim(0, -1))
            tile.add((change.transpose(2, 3) @ pixels).mul_(factor), to_keys)
        dkeys[b], dx[b] = to_keys.movedim(-1, 0), to_values.movedim(-1, 0)
    return dquery, dkeys, dx


LIBRARY.impl("cell_attention_fused", cell_attention, "CPU")
LIBRARY.impl("cell_attention_slopes_fused", cell_attention_slopes, "CPU")
