"""Fused windows on the CPU: by the C kernels where they were built (`window_kernels`), else of torch's own ops.

There every output pixel is a bag of rows of the channels-last map: `embedding_bag` sums weighted rows, and a sampled product
of matrices takes dot products with rows, both without copying the windows. Half precision is computed in float32.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from upbench.ops import thresholds
from upbench.ops.cpu import native, window_kernels
from upbench.ops.cpu.rows import index_dtype, padded_rows, pixel_rows, row_dots, row_sums, tap_rows
from upbench.ops.margins import fold
from upbench.ops.memory_layout import empty_map, on_huge_pages
from upbench.ops.registration import LIBRARY, coordinate_dtype


def _parents(size: int, out: int) -> Int[Tensor, " {out}"]:
    """The parent of every output index along one axis: floor(i' * size / out)."""
    return torch.arange(out) * size // out


def _windows(
    b: int, h: int, w: int, out_h: int, out_w: int, kernel: int, groups: int
) -> Int[Tensor, "{b}*{out_h}*{out_w}*{groups} {kernel}**2"]:
    """The rows of a padded map that each output pixel and group reads."""
    height, width = h + kernel - 1, w + kernel - 1
    dtype = index_dtype(b * height * width * groups, b * out_h * out_w * groups * kernel * kernel)
    images = torch.arange(b).view(-1, 1, 1) * (height * width)
    first = images + _parents(h, out_h).view(1, -1, 1) * width + _parents(w, out_w)
    first = (first * groups).unsqueeze(-1) + torch.arange(groups)
    taps = (torch.arange(kernel).view(-1, 1) * width + torch.arange(kernel)) * groups
    return first.to(dtype).view(-1, 1) + taps.to(dtype).view(1, -1)


def window_assemble(
    x: Float[Tensor, "B C H W"], weight: Float[Tensor, "B G T oH oW"], kernel: int, mirrored: bool = False
) -> Float[Tensor, "B C oH oW"]:
    """Compute `ops.window_assemble` at any ratio of the sizes, or with a mirrored border `ops.mirrored_assemble`.

    Args:
        x: the low-resolution map.
        weight: for each of G groups of channels, the weights of the T = kernel^2 taps; G divides C.
        kernel: side of the window in low-resolution pixels, odd.
        mirrored: whether the border is mirrored, instead of zeros.
    """
    if window_kernels.can_run_native(x, weight):
        return window_kernels.assemble(x, weight, kernel, mirrored)
    b, c, h, w = x.shape
    groups, out_h, out_w = weight.shape[1], *weight.shape[3:]
    index = _windows(b, h, w, out_h, out_w, kernel, groups)
    rows = padded_rows(x, kernel // 2, mirrored).view(-1, c // groups)
    out = row_sums(rows, index, tap_rows(weight, rows.dtype))
    return out.view(b, out_h, out_w, c).to(x.dtype).permute(0, 3, 1, 2)


def window_similarity(
    query: Float[Tensor, "B C oH oW"], keys: Float[Tensor, "B C H W"], kernel: int, heads: int, mirrored: bool = False
) -> Float[Tensor, "B {heads} T oH oW"]:
    """Compute `ops.window_head_similarity`, or with a mirrored border `ops.mirrored_similarity`.

    Taps outside the map are not compared but 0, also for a query that is not a number, where the plain form returns NaN.

    Args:
        query: the high-resolution map of queries.
        keys: the low-resolution map of keys.
        kernel: side of the window in low-resolution pixels, odd.
        heads: parts of the channels that are compared each for itself; divides C.
        mirrored: whether the border is mirrored, instead of zeros.
    """
    if window_kernels.can_run_native(query, keys):
        return window_kernels.similarity(query, keys, kernel, heads, mirrored)
    b, c, h, w = keys.shape
    out_h, out_w = query.shape[2:]
    index = _windows(b, h, w, out_h, out_w, kernel, heads)
    rows = padded_rows(keys, kernel // 2, mirrored).view(-1, c // heads)
    dots = row_dots(pixel_rows(query, rows.dtype).view(-1, c // heads), rows, index)
    return dots.view(b, out_h, out_w, heads, kernel * kernel).to(query.dtype).permute(0, 3, 4, 1, 2)


def _readers(size: int, out: int, kernel: int, margin: int) -> tuple[Tensor, Tensor, Tensor]:
    """Along one axis, the output indices whose window covers each low-resolution index, and with which tap.

    Returns index, tap and valid, each [size + 2 * margin, kernel * most children of a pixel]: a margin has readers too.
    """
    parents = _parents(size, out)
    low = torch.arange(size)
    start, end = torch.searchsorted(parents, low), torch.searchsorted(parents, low, right=True)
    child = torch.arange(-(-out // size))
    tap = torch.arange(kernel).view(1, -1, 1)
    parent = torch.arange(-margin, size + margin).view(-1, 1, 1) - (tap - kernel // 2)
    inside = (parent >= 0) & (parent < size)
    parent = parent.clamp(0, size - 1)
    index = start[parent] + child
    valid = inside & (index < end[parent])
    return (
        index.clamp(max=out - 1).flatten(1),
        tap.expand_as(index).flatten(1),
        valid.flatten(1),
    )


def window_scatter(
    source: Float[Tensor, "B C oH oW"],
    weight: Float[Tensor, "B G T oH oW"],
    kernel: int,
    height: int,
    width: int,
    mirrored: bool = False,
) -> Float[Tensor, "B C {height} {width}"]:
    """Add what each output pixel holds, times its weights, to its window: the transpose of `window_assemble`.

    Args:
        source: the high-resolution map.
        weight: for each of G groups of channels, the weights of the T = kernel^2 taps; G divides C.
        kernel: side of the window in low-resolution pixels, odd.
        height: rows of the result.
        width: columns of the result.
        mirrored: whether the border is mirrored, instead of zeros.
    """
    if window_kernels.can_run_native(source, weight):
        return window_kernels.scatter(source, weight, kernel, height, width, mirrored)
    b, c, out_h, out_w = source.shape
    groups, taps, margin = weight.shape[1], kernel * kernel, kernel // 2 if mirrored else 0
    if out_h % height == 0 and out_w % width == 0 and out_h * out_w >= taps * height * width:
        return _scatter_from_parents(source, weight, kernel, height, width, mirrored)
    high, wide = height + 2 * margin, width + 2 * margin
    i, tap_y, valid_y = (t.view(high, 1, -1, 1) for t in _readers(height, out_h, kernel, margin))
    j, tap_x, valid_x = (t.view(1, wide, 1, -1) for t in _readers(width, out_w, kernel, margin))
    dtype = coordinate_dtype(source.dtype)
    # Which output pixel, and there which tap: [H, W, readers along y, readers along x], then the groups before those.
    group = torch.arange(groups).view(1, 1, -1, 1, 1)
    pixel = (i * out_w + j).unsqueeze(2) * groups + group
    entry = (pixel * taps + (tap_y * kernel + tap_x).unsqueeze(2)).flatten()
    valid = (valid_y & valid_x).unsqueeze(2)
    bags = pixel.to(index_dtype(out_h * out_w * groups, pixel.numel())).reshape(high * wide * groups, -1)
    rows, weights = pixel_rows(source, dtype), tap_rows(weight, dtype).view(b, -1)
    out = source.new_empty((b, high, wide, c), dtype=dtype if mirrored else source.dtype)
    for image in range(b):
        read = weights[image].index_select(0, entry).view(pixel.shape).mul_(valid)
        summed = row_sums(rows[image].view(-1, c // groups), bags, read.view(bags.shape))
        out[image] = summed.view(high, wide, c)
    out = out.permute(0, 3, 1, 2)
    return fold(out, margin, source.dtype) if mirrored else out


def _scatter_from_parents(
    source: Float[Tensor, "B C oH oW"],
    weight: Float[Tensor, "B G T oH oW"],
    kernel: int,
    height: int,
    width: int,
    mirrored: bool,
) -> Float[Tensor, "B C {height} {width}"]:
    """Compute `window_scatter` where a parent has at least as many children as taps: it adds up its children for each tap
    first, of which a map is no larger than that of the children, and then a tap is one shift."""
    (b, c, out_h, out_w), (groups, taps), reach = source.shape, weight.shape[1:3], kernel // 2
    dtype = coordinate_dtype(source.dtype)
    children = (height, out_h // height, width, out_w // width)
    values = source.to(dtype).view(b, groups, c // groups, *children).permute(0, 3, 5, 1, 4, 6, 2)
    weights = weight.to(dtype).view(b, groups, taps, *children).permute(0, 3, 5, 1, 2, 4, 6)
    out = source.new_zeros((b, height + 2 * reach, width + 2 * reach, groups, c // groups), dtype=dtype)
    for image in range(b):
        # [H, W, groups, taps, children] @ [H, W, groups, children, C / groups]
        sums = weights[image].flatten(4) @ values[image].flatten(3, 4)
        for tap in range(taps):
            row, column = tap // kernel, tap % kernel
            out[image, row : row + height, column : column + width] += sums[:, :, :, tap]
    padded = out.flatten(3).permute(0, 3, 1, 2)
    if mirrored:
        return fold(padded, reach, source.dtype)
    inside = padded[:, :, reach : reach + height, reach : reach + width]
    return empty_map(source, b, c, height, width).copy_(inside)


def rows_last(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Copy a map into the memory order of the fused ops.

    Args:
        x: the map.
    """
    if window_kernels.can_turn(x):
        return window_kernels.planes_to_rows(x).permute(0, 3, 1, 2)
    return x.clone(memory_format=torch.channels_last)


def can_turn_back(x: Tensor) -> bool:
    """Return whether a kernel makes planes of rows of channels faster than torch does: of large maps, in blocks.

    Args:
        x: [B, C, H, W], the map.
    """
    large = x.numel() > 0 and x.nbytes >= len(x) * thresholds.scaled(window_kernels.TURNED)
    if not large or not window_kernels.can_run_native(x) or x.dtype == torch.float64:
        return False
    return x.is_contiguous(memory_format=torch.channels_last) and x.shape[2] * x.shape[3] % 16 == 0


def rows_to_planes(x: Tensor) -> Tensor:
    """Copy a map that `can_turn_back` into contiguous planes: the same kernel, to which pixels and channels are the other way round.

    Args:
        x: [B, C, H, W], channels-last.
    """
    b, c, h, w = x.shape
    out = on_huge_pages(x.new_empty((b, c, h, w)))
    job = window_kernels.Project(pixels=c, channels=h * w, x_step=c, out_pitch=h * w, tile=window_kernels.PIXELS)
    job.dtype = window_kernels.DTYPES.index(x.dtype)
    job.streams = out.data_ptr() % 16 == 0 and x.nbytes >= thresholds.scaled(native.STREAMED)
    maps: dict[str, Tensor | None] = {"x": x.permute(0, 2, 3, 1), "out": out}
    window_kernels.run("rows", job, maps, b, math.ceil(c / window_kernels.PIXELS), c * h * w, 1)
    return out


def planes(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Copy a map out of the memory order of the fused ops, into contiguous planes.

    Args:
        x: the map.
    """
    if can_turn_back(x):
        return rows_to_planes(x)
    return x.clone(memory_format=torch.contiguous_format)


LIBRARY.impl("rows_last_fused", rows_last, "CPU")
LIBRARY.impl("planes_fused", planes, "CPU")
LIBRARY.impl("window_assemble_fused", window_assemble, "CPU")
LIBRARY.impl("window_similarity_fused", window_similarity, "CPU")
LIBRARY.impl("window_scatter_fused", window_scatter, "CPU")
