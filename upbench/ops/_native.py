"""The C kernel for deformed points (`_kernels.c`), shared out among torch's threads.

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

from upbench.ops._fused import empty_map, empty_taps
from upbench.ops._rows import pixel_rows, point_rows, tap_rows

INTERFACE = 2
"""Of the kernel that this file calls; that of an older installation is left alone."""


def _load() -> Any:
    try:
        found = import_module("upbench.ops._kernels")
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
    inward: bool
    layers: Tensor


def kernels() -> str:
    """What the fused ops over points are made of here: "c" or "torch"."""
    return "torch" if _kernels is None else "c"


def runs(*tensors: Tensor) -> bool:
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
    """As `deform_attend`."""
    return _run(x, keys, query, embedding, None, points, padding, heads, factor)


def attend_predicted(
    x: Tensor,
    keys: Tensor,
    query: Tensor,
    embedding: Tensor | None,
    points: Predicted,
    heads: int,
    factor: float,
) -> Tensor:
    """As `offset_attend`."""
    return _run(x, keys, query, embedding, None, points, "zeros", heads, factor)


def layers(first: Tensor, gamma: Tensor, beta: Tensor, last: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
    """The numbers of a predictor of offsets, one after another, in the order in which the kernel takes them.

    first: [d, 1, 3, 3]; gamma, beta: [d]; last: [(taps, (y, x)), d, k, k]; bias: [(taps, (y, x))].
    """
    # All x before all y, and the channels last.
    taps = last.shape[0] // 2
    last = last.unflatten(0, (taps, 2)).flip(1).transpose(0, 1).flatten(0, 1).permute(0, 2, 3, 1)
    bias = bias.view(taps, 2).flip(1).t()
    whole = last.shape[0] // LANES * LANES
    lanes = last[:whole].unflatten(0, (-1, LANES)).movedim(1, -1)
    parts = (first.flatten(1).t(), gamma, beta, bias, lanes, last[whole:])
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
    query: Tensor | None,
    embedding: Tensor | None,
    weight: Tensor | None,
    points: Tensor | Predicted,
    padding: str,
    heads: int,
    factor: float | None,
) -> Tensor:
    read = x if x is not None else keys
    assert read is not None
    (b, _, h, w), dtype = read.shape, read.dtype
    where = layers = None
    kernel, numbers, inward = 0, (1.0 if factor is None else factor, 0.0, 0.0), False
    if isinstance(points, Predicted):
        out_h, out_w, groups, taps, kernel, theta, eps, inward, layers = points
        numbers = (numbers[0], theta, eps)
    else:
        groups, taps, out_h, out_w = points.shape[1:5]
        where = point_rows(points.to(dtype))
    maps = [None if t is None else pixel_rows(t, dtype) for t in (x, keys, query)]
    table = None if embedding is None else embedding.to(dtype).contiguous()
    weights = None if weight is None else tap_rows(weight, dtype).view(b, -1)
    channels, depth = (0 if t is None else t.shape[1] for t in (x, keys))
    sizes = (h, w, out_h, out_w, channels, depth, groups, taps, heads, math.lcm(groups, heads), kernel)
    if x is not None:
        out = empty_map(read, b, channels, out_h, out_w)
        target = out.permute(0, 2, 3, 1)
    else:
        out = empty_taps(read, b, heads, taps, out_h, out_w)
        target = out.permute(0, 3, 4, 1, 2)
    for image in range(b):
        mine = [None if t is None else t[image] for t in (*maps, weights)]
        places = (None, None) if where is None else (where[0, image], where[1, image])
        given = (*mine[:3], table, mine[3], *places, layers, target[image])
        addresses = tuple(0 if t is None else t.data_ptr() for t in given)
        flags = (padding == "border", inward, dtype == torch.float64)
        work = partial(_kernels.points, addresses, sizes, numbers, *flags)
        _shared(work, math.ceil(out_h / TILE) * math.ceil(out_w / TILE))
    return out


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
