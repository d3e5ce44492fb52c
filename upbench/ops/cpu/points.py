"""Fused points on the CPU: bilinear reading and weights fold into one bag of four rows a point.

The output pixels are taken in chunks, so that what belongs to points and corners stays in cache and no intermediate grows
with points times channels. Half precision is computed in float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from upbench.ops import thresholds
from upbench.ops.cpu import native, point_slopes, samples
from upbench.ops.cpu.rows import (
    index_dtype,
    padded_rows,
    pixel_rows,
    point_rows,
    row_dots,
    row_sums,
    sums_of_bags,
    tap_rows,
)
from upbench.ops.memory_layout import empty_map, empty_points, empty_taps
from upbench.ops.registration import LIBRARY, coordinate_dtype

MARGIN = 2
"""Zeros around the map, wide enough that all four corners of any position outside read them."""
CHUNK_ENTRIES = 2**20
"""Rows that are read for a piece of the output: larger pieces would cost memory, smaller ones the start of a parallel region
each, dear on a busy machine."""


class _Cells:
    """The cells that points of a chunk fall into. points: [2, n, G, P], all x before all y.

    corner: [n, G, P], the row of each cell's top left corner in a map with MARGIN around; right, down: how far the
    point lies from it, in [0, 1).
    """

    def __init__(self, points: Tensor, height: int, width: int, padding: str) -> None:
        x, y = points
        if padding == "border":
            x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
        left, top = x.floor(), y.floor()
        self.right, self.down = x - left, y - top
        # Clamped as integers: also what is infinite or not a number names a row that exists.
        column, row = _whole(left, width), _whole(top, height)
        self.stride = width + 2 * MARGIN
        self.corner = row.mul_(self.stride).add_(column).add_(MARGIN * self.stride + MARGIN)

    def weights(self, weight: Tensor | None, blocks: int) -> Tensor:
        """Bilinear weights of the corners, times `weight` [n, blocks, P]: [n, blocks, 4, P]."""
        right, down = (_blocks(t, blocks) for t in (self.right, self.down))
        out = right.new_empty((right.shape[0], blocks, 4, right.shape[2]))
        below = down if weight is None else down * weight
        above = (1 - down) if weight is None else weight - below
        torch.mul(above, right, out=out[:, :, 1])
        torch.sub(above, out[:, :, 1], out=out[:, :, 0])
        torch.mul(below, right, out=out[:, :, 3])
        torch.sub(below, out[:, :, 3], out=out[:, :, 2])
        return out

    def rows(self, blocks: int) -> Tensor:
        """The rows of the corners in a map that is cut into blocks of channels: [n, blocks, 4, P]."""
        corner = _blocks(self.corner, blocks) * blocks + torch.arange(blocks, dtype=self.corner.dtype).view(1, -1, 1)
        out = corner.new_empty((corner.shape[0], blocks, 4, corner.shape[2]))
        for n, step in enumerate((0, 1, self.stride, self.stride + 1)):
            torch.add(corner, step * blocks, out=out[:, :, n])
        return out


def _whole(position: Tensor, size: int) -> Tensor:
    return position.to(torch.int32).clamp_(-MARGIN, size)


def _blocks(x: Tensor, blocks: int) -> Tensor:
    """[n, G, P] -> [n, blocks, P]: each block's own group."""
    return x if x.shape[1] == blocks else x.repeat_interleave(blocks // x.shape[1], 1)


def _chunks(count: int, entries: int) -> Iterator[slice]:
    """Slices of `count` pixels with about CHUNK_ENTRIES rows to read in each."""
    step = max(thresholds.scaled(CHUNK_ENTRIES) // max(entries, 1), 64)
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def _map_rows(x: Tensor, image: int, blocks: int) -> Tensor:
    """One image as rows of one block of channels, with MARGIN around: [R * blocks, C / blocks]."""
    return padded_rows(x[image : image + 1], MARGIN).view(-1, x.shape[1] // blocks)


def deform_assemble(
    x: Float[Tensor, "B C H W"],
    weight: Float[Tensor, "B heads P oH oW"] | None,
    points: Float[Tensor, "B G P oH oW 2"],
    padding: str,
) -> Float[Tensor, "B C oH oW"]:
    """Compute `ops.deform_assemble`; without weights the plain sum over the points.

    Args:
        x: the low-resolution map.
        weight: the weight of each point for each of the heads; None for ones.
        points: P positions (x, y) for each of G groups of channels, in low-resolution pixels; G divides C.
        padding: what is read outside the map, as in `ops.sample_points`.
    """
    if weight is None and samples.can_run(x, points, padding):
        return samples.sample(x, points)
    if native.can_run_native(x, *([] if weight is None else [weight]), half=True):
        return native.assemble(x, weight, points, padding)
    b, c, h, w = x.shape
    groups, taps, out_h, out_w = points.shape[1:5]
    heads = 1 if weight is None else weight.shape[1]
    blocks = math.lcm(groups, heads)
    where = point_rows(points)
    weights = None if weight is None else tap_rows(weight, where.dtype).view(b, where.shape[2], heads, taps)
    out = empty_map(x, b, c, out_h, out_w)
    target = out.permute(0, 2, 3, 1).view(b, out_h * out_w, c)
    for image in range(b):
        rows = _map_rows(x, image, blocks)
        for chunk in _chunks(out_h * out_w, blocks * 4 * taps):
            cells = _Cells(where[:, image, chunk], h, w, padding)
            weighed = cells.weights(None if weights is None else _blocks(weights[image, chunk], blocks), blocks)
            index = cells.rows(blocks)
            read = row_sums(rows, index.view(-1, 4 * taps), weighed.view(-1, 4 * taps).to(rows.dtype))
            target[image, chunk] = read.view(-1, c)
    return out


def deform_similarity(
    query: Float[Tensor, "B C oH oW"],
    keys: Float[Tensor, "B C H W"],
    points: Float[Tensor, "B G P oH oW 2"],
    padding: str,
    heads: int,
) -> Float[Tensor, "B {heads} P oH oW"]:
    """Compute `ops.deform_similarity`.

    Args:
        query: the high-resolution map of queries.
        keys: the low-resolution map of keys.
        points: P positions (x, y) for each of G groups of channels, in low-resolution pixels; G divides C.
        padding: what is read outside the map, as in `ops.sample_points`.
        heads: parts of the channels that are compared each for itself; divides C.
    """
    if native.can_run_native(query, keys, half=True):
        return native.similarity(query, keys, points, padding, heads)
    b, c, h, w = keys.shape
    groups, taps, out_h, out_w = points.shape[1:5]
    blocks = math.lcm(groups, heads)
    where = point_rows(points)
    queries = pixel_rows(query, coordinate_dtype(query.dtype))
    out = empty_taps(query, b, heads, taps, out_h, out_w)
    target = out.permute(0, 3, 4, 1, 2).view(b, out_h * out_w, heads, taps)
    for image in range(b):
        rows = _map_rows(keys, image, blocks)
        for chunk in _chunks(out_h * out_w, blocks * 4 * taps):
            cells = _Cells(where[:, image, chunk], h, w, padding)
            dots = row_dots(queries[image, chunk].reshape(-1, c // blocks), rows, cells.rows(blocks).view(-1, 4 * taps))
            dots = cells.weights(None, blocks).mul_(dots.view(-1, blocks, 4, taps))
            # Corners and blocks of one head are neighbours in memory: one sum over both.
            target[image, chunk] = dots.view(-1, heads, blocks // heads * 4, taps).sum(2)
    return out


def deform_scatter(
    source: Float[Tensor, "B C oH oW"],
    weight: Float[Tensor, "B heads P oH oW"] | None,
    points: Float[Tensor, "B G P oH oW 2"],
    padding: str,
    height: int,
    width: int,
) -> Float[Tensor, "B C {height} {width}"]:
    """Add what each output pixel holds to the pixels around its points: the transpose of `deform_assemble`.

    Args:
        source: the high-resolution map.
        weight: the weight of each point for each of the heads; None for ones.
        points: P positions (x, y) for each of G groups of channels, in low-resolution pixels; G divides C.
        padding: what is read outside the map, as in `ops.sample_points`.
        height: rows of the result.
        width: columns of the result.
    """
    if point_slopes.can_run():
        return point_slopes.scatter(source, weight, points, padding, height, width)
    b, c = source.shape[:2]
    groups, taps = points.shape[1:3]
    heads = 1 if weight is None else weight.shape[1]
    blocks = math.lcm(groups, heads)
    where, sources = point_rows(points), pixel_rows(source, coordinate_dtype(source.dtype))
    weights = None if weight is None else tap_rows(weight, where.dtype).view(b, where.shape[2], heads, taps)
    tall, wide = height + 2 * MARGIN, width + 2 * MARGIN
    out = source.new_empty((b, height, width, c))
    for image in range(b):
        rows = sources[image].view(-1, c // blocks)
        for block in range(blocks):
            group, head = block // (blocks // groups), block // (blocks // heads)
            cells = _Cells(where[:, image, :, group : group + 1].contiguous(), height, width, padding)
            weighed = cells.weights(None if weights is None else weights[image, :, head : head + 1], 1)
            # Points in the order of their cells: each cell is then a bag, and its corners are four bags of one order.
            corner, order = cells.corner.view(-1).sort(stable=True)
            starts = torch.searchsorted(corner, torch.arange(tall * wide, dtype=corner.dtype), out_int32=True)
            reader = order // taps * blocks + block
            reader = reader.to(index_dtype(rows.shape[0], reader.numel()))
            total = rows.new_zeros((tall * wide, c // blocks))
            for n, step in enumerate((0, 1, wide, wide + 1)):
                share = weighed[:, 0, n].reshape(-1).index_select(0, order).to(rows.dtype)
                total[step:] += sums_of_bags(rows, reader, starts, share)[: tall * wide - step]
            inside = total.view(tall, wide, -1)[MARGIN:-MARGIN, MARGIN:-MARGIN]
            out[image, :, :, block * (c // blocks) : (block + 1) * (c // blocks)] = inside
    return out.permute(0, 3, 1, 2)


def deform_slope(
    source: Float[Tensor, "B C oH oW"],
    x: Float[Tensor, "B C H W"],
    weight: Float[Tensor, "B heads P oH oW"] | None,
    points: Float[Tensor, "B G P oH oW 2"],
    padding: str,
) -> tuple[Float[Tensor, "B heads P oH oW"], Float[Tensor, "B G P oH oW 2"]]:
    """Compare source with x at the points, and differentiate the assembled x by the points.

    Args:
        source: the high-resolution map, as the gradient of the output.
        x: the low-resolution map.
        weight: the weight of each point for each of the heads; None for ones.
        points: P positions (x, y) for each of G groups of channels, in low-resolution pixels; G divides C.
        padding: what is read outside the map, as in `ops.sample_points`.

    Returns:
        The similarities, and the slopes of sum(source * deform_assemble(x, weight, points)) in the points.
    """
    if point_slopes.can_run():
        return point_slopes.slopes(source, x, weight, points, padding)
    b, c, h, w = x.shape
    groups, taps, out_h, out_w = points.shape[1:5]
    heads = 1 if weight is None else weight.shape[1]
    blocks = math.lcm(groups, heads)
    where, sources = point_rows(points), pixel_rows(source, coordinate_dtype(source.dtype))
    weights = None if weight is None else tap_rows(weight, where.dtype).view(b, where.shape[2], heads, taps)
    dots, slopes = empty_taps(source, b, heads, taps, out_h, out_w), empty_points(points)
    dots_rows = dots.permute(0, 3, 4, 1, 2).view(b, out_h * out_w, heads, taps)
    slopes_rows = slopes.permute(5, 0, 3, 4, 1, 2).view(2, b, out_h * out_w, groups, taps)
    for image in range(b):
        rows = _map_rows(x, image, blocks)
        for chunk in _chunks(out_h * out_w, blocks * 4 * taps):
            seen = _as_plain(where[:, image, chunk], h, w)
            cells = _Cells(seen, h, w, padding)
            left = sources[image, chunk].reshape(-1, c // blocks)
            corners = row_dots(left, rows, cells.rows(blocks).view(-1, 4 * taps)).view(-1, blocks, 4, taps)
            weighed = cells.weights(None, blocks)
            dots_rows[image, chunk] = (weighed * corners).view(-1, heads, blocks // heads * 4, taps).sum(2)
            a, b_, c_, d = corners.to(seen.dtype).unbind(2)
            right, down = _blocks(cells.right, blocks), _blocks(cells.down, blocks)
            slope = torch.stack((torch.lerp(b_ - a, d - c_, down), torch.lerp(c_ - a, d - b_, right)))
            if weights is not None:
                slope *= _blocks(weights[image, chunk], blocks)
            slope = slope.view(2, -1, groups, blocks // groups, taps).sum(3)
            if padding == "border":
                last = torch.tensor((w - 1, h - 1), dtype=seen.dtype).view(2, 1, 1, 1)
                slope *= (seen > 0) & (seen < last)
            slopes_rows[:, image, chunk] = slope
    return dots, slopes


def _as_plain(points: Tensor, height: int, width: int) -> Tensor:
    """Positions as `grid_sample` sees them after they were normalised, so that on the border between two cells the
    slope is taken from the same side. points: [2, n, G, P]."""
    last = torch.tensor((max(width, 2) - 1, max(height, 2) - 1), dtype=points.dtype).view(2, 1, 1, 1)
    return (points * 2 / last - 1 + 1) * (last / 2)


LIBRARY.impl("deform_assemble_fused", deform_assemble, "CPU")
LIBRARY.impl("deform_similarity_fused", deform_similarity, "CPU")
LIBRARY.impl("deform_scatter_fused", deform_scatter, "CPU")
LIBRARY.impl("deform_slope_fused", deform_slope, "CPU")
