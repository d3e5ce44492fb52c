"""The C kernel for deformed points (`csrc/kernels.c`), shared out among torch's threads.

It is built when upbench is installed, where a C compiler is at hand; without it the same ops are made of torch's.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor

from upbench.ops.cpu.rows import point_rows, tap_rows
from upbench.ops.memory_layout import empty_map, empty_taps
from upbench.ops.points import lattice

INTERFACE = 4
"""Of the kernel that this file calls; that of an older installation is left alone."""


def _load() -> Any:
    try:
        found = import_module("upbench.ops.cpu._kernels")
    except ImportError:  # there was no compiler where this was installed
        return None
    return found if found.interface == INTERFACE else None


_kernels = _load()
TILE, PIECE, LANES = 8, 8, 16
"""Side of a tile of output pixels in the kernel, tiles that a thread takes at a time, and outputs of the predictor's last
layer that are summed at once."""


class Predicted(NamedTuple):
    """Points that the kernel works out itself, from a query of the size of the map. See `offset_attend`."""

    height: int
    width: int
    groups: int
    taps: int
    kernel: int
    theta: float
    eps: float
    in_input_pixels: bool
    layers: Tensor


class Moved(NamedTuple):
    """Points that are offsets [B, H, W, 1 or scale^2, (x, y), G, P] from the parent of each output pixel."""

    offsets: Tensor
    scale: int


class Guided(NamedTuple):
    """A query that is a pointwise convolution of a guide [B, C, H', W']. layer: its bias, then its weight in lanes."""

    guide: Tensor
    layer: Tensor


def kernels() -> str:
    """What the fused ops over points are made of here: "c" or "torch"."""
    return "torch" if _kernels is None else "c"


def can_run_native(*tensors: Tensor) -> bool:
    """Whether the kernel takes these: float32 or float64, all of one dtype."""
    return (
        _kernels is not None
        and tensors[0].dtype in (torch.float32, torch.float64)
        and len({t.dtype for t in tensors}) == 1
    )


def attend(
    x: Tensor,
    keys: Tensor,
    query: Tensor,
    embedding: Tensor | None,
    points: Tensor,
    padding: str,
    heads: int,
    factor: float | None,
) -> Tensor:
    """As `attention.attend`."""
    return _run(x, keys, query, embedding, None, points, padding, heads, factor)


def attend_predicted(
    x: Tensor, keys: Tensor, query: Tensor, embedding: Tensor | None, points: Predicted, heads: int, factor: float
) -> Tensor:
    """As `offset_attend`."""
    return _run(x, keys, query, embedding, None, points, "zeros", heads, factor)


def attend_guided(x: Tensor, keys: Tensor, query: Guided, points: Moved, heads: int) -> Tensor:
    """As `guided_attend`."""
    return _run(x, keys, query, None, None, points, "zeros", heads, None)


def layers(first: Tensor, gamma: Tensor, beta: Tensor, last: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
    """The numbers of a predictor of offsets, one after another, in the order in which the kernel takes them.

    first: [d, 1, 3, 3]; gamma, beta: [d]; last: [(taps, (y, x)), d, k, k]; bias: [(taps, (y, x))].
    """
    # All x before all y, and the channels last.
    taps = last.shape[0] // 2
    last = last.unflatten(0, (taps, 2)).flip(1).transpose(0, 1).flatten(0, 1).permute(0, 2, 3, 1)
    bias, side = bias.view(taps, 2).flip(1).t(), math.isqrt(taps)
    places = lattice(side, side, bias) - side // 2
    return _joined(dtype, first.flatten(1).t(), gamma, beta, bias, places, *_lanes(last))


def layer(weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    """The numbers of a pointwise convolution in the order in which the kernel takes them. weight: [O, I, 1, 1]."""
    return _joined(dtype, weight.new_zeros(weight.shape[0]) if bias is None else bias, *_lanes(weight))


def _lanes(weight: Tensor) -> tuple[Tensor, Tensor]:
    """[O, ...] -> [O / LANES, ..., LANES] and the outputs that remain."""
    whole = weight.shape[0] // LANES * LANES
    return weight[:whole].unflatten(0, (-1, LANES)).movedim(1, -1), weight[whole:]


def _joined(dtype: torch.dtype, *parts: Tensor) -> Tensor:
    return torch.cat([part.to(dtype).flatten() for part in parts])


def similarity(query: Tensor, keys: Tensor, points: Tensor, padding: str, heads: int) -> Tensor:
    """As `deform_similarity`."""
    return _run(None, keys, query, None, None, points, padding, heads, None)


def assemble(x: Tensor, weight: Tensor | None, points: Tensor, padding: str) -> Tensor:
    """As `deform_assemble`, and for no weight as `sample_points` of one point."""
    return _run(x, None, None, None, weight, points, padding, 1 if weight is None else weight.shape[1], None)


def _run(
    x: Tensor | None,
    keys: Tensor | None,
    query: Tensor | Guided | None,
    embedding: Tensor | None,
    weight: Tensor | None,
    points: Tensor | Predicted | Moved,
    padding: str,
    heads: int,
    factor: float | None,
) -> Tensor:
    read = x if x is not None else keys
    assert read is not None
    (b, _, h, w), dtype = read.shape, read.dtype
    columns = rows = predictor = guide = layer = None
    kernel, theta, eps, in_input_pixels, scale, spread, point_pitch, guide_sizes = (
        0,
        0.0,
        0.0,
        False,
        0,
        0,
        0,
        (0, 0, 0),
    )
    if isinstance(points, Predicted):
        out_h, out_w, groups, taps, kernel, theta, eps, in_input_pixels, predictor = points
    elif isinstance(points, Moved):
        scale, (spread, _, groups, taps) = points.scale, points.offsets.shape[3:]
        out_h, out_w = scale * h, scale * w
        columns = _rows(points.offsets.flatten(3), dtype)
        point_pitch = columns.stride(1)
    else:
        groups, taps, out_h, out_w = points.shape[1:5]
        columns, rows = point_rows(points.to(dtype))
    if isinstance(query, Guided):
        guide, layer = query
        # The pixels one after another, in whatever steps.
        guide = (guide if guide.stride(2) == out_w * guide.stride(3) else guide.contiguous()).to(dtype)
        guide_sizes = (guide.shape[1], guide.stride(1), guide.stride(3))
        query = None
    maps = [None if t is None else _rows(t.permute(0, 2, 3, 1), dtype) for t in (x, keys, query)]
    table = None if embedding is None else embedding.to(dtype).contiguous()
    weights = None if weight is None else tap_rows(weight, dtype).view(b, -1)
    channels, depth = (0 if t is None else t.shape[1] for t in (x, keys))
    pitches = (0 if t is None else t.stride(1) for t in maps)
    blocks = math.lcm(groups, heads)
    sizes = (h, w, out_h, out_w, channels, depth, groups, taps, heads, blocks, *pitches, point_pitch, kernel)
    sizes = (*sizes, scale, spread, *guide_sizes)
    if x is not None:
        out = empty_map(read, b, channels, out_h, out_w)
        target = out.permute(0, 2, 3, 1)
    else:
        out = empty_taps(read, b, heads, taps, out_h, out_w)
        target = out.permute(0, 3, 4, 1, 2)
    for image in range(b):
        x_, keys_, query_, weights_, columns_, rows_, guide_ = (
            None if t is None else t[image] for t in (*maps, weights, columns, rows, guide)
        )
        given = (x_, keys_, query_, table, weights_, columns_, rows_, predictor, guide_, layer, target[image])
        addresses = tuple(0 if t is None else t.data_ptr() for t in given)
        numbers, flags = (1.0 if factor is None else factor, theta, eps), (padding == "border", in_input_pixels)
        work = partial(_kernels.points, addresses, sizes, numbers, *flags, dtype == torch.float64)
        _shared(work, math.ceil(out_h / TILE) * math.ceil(out_w / TILE))
    return out


def _rows(x: Tensor, dtype: torch.dtype) -> Tensor:
    """[B, H, W, C] -> [B, H * W, C] with the channels together; a view where they are and the rows are evenly apart."""
    x, (b, h, w, c) = x.to(dtype), x.shape
    even = x.stride(3) == 1 and x.stride(1) == w * x.stride(2)
    return x.view(b, h * w, c) if even else x.contiguous().view(b, h * w, c)


def _shared(work: Callable[[int, int], Any], count: int) -> None:
    """work(start, stop) over 0 to count in pieces, by as many threads as torch has here, this one among them."""
    threads = min(torch.get_num_threads(), math.ceil(count / PIECE))
    starts = iter(range(0, count, PIECE))

    def take() -> None:
        for start in starts:
            work(start, min(start + PIECE, count))

    others = [_pool(os.getpid(), threads - 1).submit(take) for _ in range(threads - 1)]
    try:
        take()
    finally:
        for other in others:
            other.result()


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads that wait for work; a process that was forked off needs its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix="upbench")
