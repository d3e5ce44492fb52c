"""How maps lie in memory: the order that the fused ops read and write, and huge pages for large ones.

What is larger than 32 MiB the C library takes from the system anew each time, and what is smaller whenever something large
was freed before; the system clears it page by page when it is first written: for the 56 MiB of the papers' shape that
takes longer than to write them. Pages of 2 MiB are cleared three times as fast. Where Linux does not give them nothing
happens.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from upbench.ops import destination, thresholds

SMALLEST = 2**22
"""Bytes from which memory is marked for huge pages."""
ADVICE: int | None = getattr(mmap, "MADV_HUGEPAGE", None)
"""The number by which Linux is asked for huge pages; None where Python knows none."""


@cache
def _madvise() -> Any:
    if ADVICE is None or not sys.platform.startswith("linux"):
        return None
    call = getattr(ctypes.CDLL(None), "madvise", None)
    if call is not None:
        call.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return call


def on_huge_pages(fresh: Tensor) -> Tensor:
    """Mark the memory of a tensor for huge pages if it is large, on the CPU and real.

    Args:
        fresh: the tensor, best before anything was written to it.

    Returns:
        The same tensor; its values stay.
    """
    # Asked first: the size of a traced tensor may be a symbol, which must not be compared with a number.
    if type(fresh) is not Tensor or fresh.device.type != "cpu":
        return fresh
    storage = fresh.untyped_storage()
    size, first, call = storage.nbytes(), storage.data_ptr(), _madvise()
    if size >= max(thresholds.scaled(SMALLEST), 2 * mmap.PAGESIZE) and call is not None:
        start = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE
        call(start, (first + size - start) // mmap.PAGESIZE * mmap.PAGESIZE, ADVICE)
    return fresh


def channels_last(device: torch.device) -> bool:
    """Say whether the fused ops of a device return maps with the channels, and weights with the taps, last in memory."""
    return device.type != "cuda"


def empty_map(like: Tensor, b: int, c: int, h: int, w: int) -> Float[Tensor, "{b} {c} {h} {w}"]:
    """Allocate a map in the memory order of the fused ops; every fused op takes the memory of its result here.

    A caller that keeps its results gives the memory of the first map of that size, see `destination`: it holds anything.

    Args:
        like: gives dtype and device.
        b: images.
        c: channels.
        h: rows.
        w: columns.
    """
    opened = destination.current()
    last = channels_last(like.device)
    shape = (b, h, w, c) if last else (b, c, h, w)
    memory = like.new_empty(shape) if opened is None else opened.take(like, shape, last)
    return on_huge_pages(memory).permute(0, 3, 1, 2) if last else memory


def empty_taps(like: Tensor, b: int, g: int, t: int, h: int, w: int) -> Float[Tensor, "{b} {g} {t} {h} {w}"]:
    """Allocate weights or logits in the memory order of the fused ops.

    Args:
        like: gives dtype and device.
        b: images.
        g: groups or heads.
        t: taps.
        h: rows.
        w: columns.
    """
    if channels_last(like.device):
        return like.new_empty((b, h, w, g, t)).permute(0, 3, 4, 1, 2)
    return like.new_empty((b, g, t, h, w))


def empty_points(points: Float[Tensor, "B G P oH oW 2"]) -> Float[Tensor, "B G P oH oW 2"]:
    """Allocate points of the shape of others in the memory order of the fused ops."""
    b, g, p, h, w, _ = points.shape
    if channels_last(points.device):
        return points.new_empty((2, b, h, w, g, p)).permute(1, 4, 5, 2, 3, 0)
    return points.new_empty((b, g, p, h, w, 2))


def rows_last(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Bring a map into the memory order in which the fused ops of its device read: on a CPU channels-last."""
    return x.contiguous(memory_format=torch.channels_last) if channels_last(x.device) else x


def taps_last(weight: Float[Tensor, "B G T H W"]) -> Float[Tensor, "B G T H W"]:
    """Bring weights of taps into the memory order in which the fused ops of their device read: on a CPU taps last."""
    return weight.permute(0, 3, 4, 1, 2).contiguous().permute(0, 3, 4, 1, 2) if channels_last(weight.device) else weight
