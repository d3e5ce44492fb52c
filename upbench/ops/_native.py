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
from typing import Any

import torch
from torch import Tensor

from upbench.ops._fused import empty_map, empty_taps
from upbench.ops._rows import pixel_rows, point_rows, tap_rows

INTERFACE = 1
"""Of the kernel that this file calls; that of an older installation is left alone."""


def _load() -> Any:
    try:
        found = import_module("upbench.ops._kernels")
    except ImportError:  # there was no compiler where this was installed
        return None
    return found if found.interface == INTERFACE else None


_kernels = _load()
TILE, PIECE = 8, 8
"""Side of a tile of output pixels in the kernel, and tiles that a thread takes at a time."""


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
    points: Tensor,
    padding: str,
    heads: int,
    factor: float | None,
) -> Tensor:
    read = x if x is not None else keys
    assert read is not None
    (b, _, h, w), dtype = read.shape, read.dtype
    groups, taps, out_h, out_w = points.shape[1:5]
    where, wide = point_rows(points.to(dtype)), dtype == torch.float64
    maps = [None if t is None else pixel_rows(t, dtype) for t in (x, keys, query)]
    table = None if embedding is None else embedding.to(dtype).contiguous()
    weights = None if weight is None else tap_rows(weight, dtype).view(b, -1)
    channels, depth = (0 if t is None else t.shape[1] for t in (x, keys))
    sizes = (h, w, out_h, out_w, channels, depth, groups, taps, heads, math.lcm(groups, heads))
    if x is not None:
        out = empty_map(read, b, channels, out_h, out_w)
        target = out.permute(0, 2, 3, 1)
    else:
        out = empty_taps(read, b, heads, taps, out_h, out_w)
        target = out.permute(0, 3, 4, 1, 2)
    for image in range(b):
        mine = [None if t is None else t[image] for t in (*maps, weights)]
        given = (*mine[:3], table, mine[3], where[0, image], where[1, image], target[image])
        places = tuple(0 if t is None else t.data_ptr() for t in given)
        work = partial(_kernels.points, places, sizes, 1.0 if factor is None else factor, padding == "border", wide)
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
