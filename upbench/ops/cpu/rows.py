"""Maps as matrices of rows, and the two products that the fused ops on the CPU are made of."""

from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from upbench.ops import thresholds
from upbench.ops.margins import mirror_
from upbench.ops.memory_layout import on_huge_pages
from upbench.ops.registration import coordinate_dtype

LARGE = 2**25
"""Bytes of a result from which clearing its pages takes longer than bags save over MKL's product."""
SLICES = (64, 32, 16)
"""Channels that the kernel sums at once. Rows of so few lie closer in the cache than those of a whole map."""
MANY_TAPS = 4
"""Points of each output pixel from which that earns a copy of a map whose channels lie together already."""


def index_dtype(rows: int, entries: int) -> torch.dtype:
    """Return the dtype of indices of rows: half the bytes to read as long as int32 can count them.

    Args:
        rows: number of rows.
        entries: number of indices.
    """
    return torch.int32 if max(rows, entries) < 2**31 else torch.int64


def pixel_rows(x: Float[Tensor, "B C H W"], dtype: torch.dtype) -> Float[Tensor, "B H*W C"]:
    """Return a map as rows of channels, contiguous; a view where x is channels-last and of that dtype.

    Args:
        x: the map.
        dtype: of the rows.
    """
    b, c, h, w = x.shape
    return x.to(dtype).permute(0, 2, 3, 1).contiguous().view(b, h * w, c)


def padded_rows(
    x: Float[Tensor, "B C H W"], margin: int, mirrored: bool = False
) -> Float[Tensor, "B H+2*{margin} W+2*{margin} C"]:
    """Copy a map with a margin to rows of channels, contiguous and at least float32.

    Args:
        x: the map.
        margin: pixels that are added on each side.
        mirrored: whether the margin mirrors the map, instead of zeros.
    """
    b, c, h, w = x.shape
    out = on_huge_pages(x.new_empty((b, h + 2 * margin, w + 2 * margin, c), dtype=coordinate_dtype(x.dtype)))
    if margin and not mirrored:
        # Only the margin is cleared: the rest is written once.
        for dim in (1, 2):
            out.narrow(dim, 0, margin).zero_()
            out.narrow(dim, out.shape[dim] - margin, margin).zero_()
    out[:, margin : margin + h, margin : margin + w] = x.permute(0, 2, 3, 1)
    if mirrored:
        mirror_(out, margin)
    return out


def tap_rows(weight: Float[Tensor, "B G T H W"], dtype: torch.dtype) -> Float[Tensor, "B*H*W*G T"]:
    """Return weights as rows of taps, contiguous; a view where the taps are last in memory already.

    Args:
        weight: the weights of taps.
        dtype: of the rows.
    """
    return weight.to(dtype).permute(0, 3, 4, 1, 2).contiguous().view(-1, weight.shape[2])


def point_rows(points: Float[Tensor, "B G P oH oW 2"]) -> Float[Tensor, "2 B oH*oW G P"]:
    """Lay out points with all x before all y, contiguous."""
    b, g, p, h, w, _ = points.shape
    return points.permute(5, 0, 3, 4, 1, 2).contiguous().view(2, b, h * w, g, p)


def row_sums(
    rows: Float[Tensor, "R d"], index: Int[Tensor, "N T"], weight: Float[Tensor, "N T"]
) -> Float[Tensor, "N d"]:
    """Sum rows with weights: out[n] = sum over t of weight[n, t] * rows[index[n, t]].

    As bags of rows. A large result is the product of a sparse matrix and the rows instead, whose memory MKL takes as it
    is given: on huge pages.

    Args:
        rows: the rows.
        index: numbers of the T rows of each sum.
        weight: their weights.
    """
    large = index.shape[0] * rows.shape[1] * rows.element_size() >= thresholds.scaled(LARGE)
    with torch.no_grad():
        if not (large and torch.backends.mkl.is_available() and index.dtype == torch.int32):
            return F.embedding_bag(index, rows, per_sample_weights=weight, mode="sum")
        out = on_huge_pages(rows.new_empty((index.shape[0], rows.shape[1])))
        return torch.addmm(out, _sparse(index, weight, len(rows)), rows, beta=0, out=out)


def sums_of_bags(
    rows: Float[Tensor, "R d"], index: Int[Tensor, " E"], starts: Int[Tensor, " N"], weight: Float[Tensor, " E"]
) -> Float[Tensor, "N d"]:
    """Sum bags of rows with weights: out[n] = sum of weight[e] * rows[index[e]] over starts[n] <= e < starts[n + 1].

    Args:
        rows: the rows.
        index: numbers of rows, bag after bag.
        starts: where each bag begins in index; the last one ends with the list.
        weight: the weight of each entry of index.
    """
    with torch.no_grad():
        return F.embedding_bag(index, rows, starts.to(index.dtype), per_sample_weights=weight, mode="sum")


def _sparse(index: Tensor, values: Tensor, columns: int) -> Tensor:
    """The matrix with values[n, t] in column index[n, t] of row n, of a number of columns; of each row in any order."""
    count, taps = index.shape
    starts = torch.arange(0, count * taps + 1, taps, dtype=index.dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse")
        return torch.sparse_csr_tensor(
            starts, index.view(-1), values.view(-1), size=(count, columns), check_invariants=False
        )


def row_dots(left: Float[Tensor, "N d"], rows: Float[Tensor, "R d"], index: Int[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """Compare each left row with some rows: out[n, t] = left[n] . rows[index[n, t]].

    It is the product of two matrices, sampled where a sparse one has entries: row n has them at index[n].

    Args:
        left: one row for each result row.
        rows: the rows that it is compared with.
        index: numbers of the T rows of each left row.
    """
    count, taps = index.shape
    if taps > rows.shape[0]:  # a sparse row with more places than there are columns is refused; the map is tiny then
        return (left.unsqueeze(1) * rows[index.long()]).sum(-1)
    with torch.no_grad():
        dots = left.new_zeros(count, taps)
        places = _sparse(index, dots, rows.shape[0])
        # Into the places themselves: without `out` torch copies all three of their parts first.
        torch.sparse.sampled_addmm(places, left, rows.t(), beta=0.0, out=places)
        return dots


def even_pixels(x: Tensor) -> Tensor:
    """Return a map whose pixels are one after another in steps of `x.stride(3)`: x itself where they are, else a copy.

    Args:
        x: [B, C, H, W].
    """
    # torch calls a map of one column contiguous whatever the step of that side is: `contiguous` would leave it.
    even = x.stride(2) == x.shape[3] * x.stride(3)
    return x if even else x.clone(memory_format=torch.contiguous_format)


def sliced(x: Tensor, blocks: int, taps: int, dtype: torch.dtype) -> Tensor:
    """Lay a map out as the kernel reads its values fastest: [B, C / n, H * W, n], n channels of a pixel together.

    Args:
        x: [B, C, H, W], the map. Where it is channels-last and of that dtype and read at few points, it is not copied and n is C.
        blocks: parts of the channels that are read at different points.
        taps: points that each output pixel reads.
        dtype: of what the kernel reads.
    """
    (b, c, h, w), rows = x.shape, x.permute(0, 2, 3, 1)
    width = next((n for n in SLICES if c // blocks % n == 0), c)
    if width == c or (taps < MANY_TAPS and x.dtype == dtype and _even(rows)):
        return map_rows(rows, dtype).unsqueeze(1)
    out = on_huge_pages(x.new_empty((b, c // width, h, w, width), dtype=dtype))
    return out.copy_(x.unflatten(1, (-1, width)).permute(0, 1, 3, 4, 2)).view(b, c // width, h * w, width)


def blocked(keys: Tensor, blocks: int, taps: int, dtype: torch.dtype) -> Tensor:
    """Lay keys out in blocks of channels, [B, blocks, H, W, C / blocks], where that earns a copy; otherwise they stay.

    Args:
        keys: [B, C, H, W].
        blocks: parts of the channels that are read at different points.
        taps: points that each output pixel reads.
        dtype: of what the kernel reads.
    """
    if taps < MANY_TAPS or (blocks == 1 and keys.is_contiguous(memory_format=torch.channels_last)):
        return keys
    return keys.to(dtype).unflatten(1, (blocks, -1)).permute(0, 1, 3, 4, 2).contiguous()


def laid_out(x: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Lay a map out as rows of all channels, or of those of a slice where it lies in slices already.

    Args:
        x: [B, C, H, W] or [B, slices, H, W, channels of each]; or None.
        dtype: of what the kernel reads.

    Returns:
        [B, 1, H * W, C] or [B, slices, H * W, channels of each]; or None.
    """
    if x is None:
        return None
    return map_rows(x.permute(0, 2, 3, 1), dtype).unsqueeze(1) if x.dim() == 4 else x.flatten(2, 3)


def _even(rows: Tensor) -> bool:
    """Whether the channels lie together and the rows evenly apart. rows: [B, H, W, C]."""
    return rows.stride(3) == 1 and rows.stride(1) == rows.shape[2] * rows.stride(2)


def map_rows(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Lay a map out with the channels together, [B, H * W, C]: a view where they are and the rows are evenly apart.

    Args:
        x: [B, H, W, C], the map.
        dtype: of what the kernel reads.
    """
    b, h, w, c = x.shape
    if x.dtype != dtype or not _even(x):
        x = x.new_empty(x.shape, dtype=dtype).copy_(x)
    return x.view(b, h * w, c)
