"""Shares the work of a C kernel out among as many threads as torch has."""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import torch


def run(module: Any, entry: str, job: ctypes.Structure, count: int, piece: int) -> None:
    """Run an entry of a module of kernels over all its tiles, a piece at a time, by as many threads as torch has here.

    Args:
        module: that has the entry.
        entry: its name.
        job: the struct that it takes.
        count: number of tiles.
        piece: tiles that a thread takes at a time.
    """
    _shared(partial(getattr(module, entry), ctypes.addressof(job), ctypes.sizeof(job)), count, piece)


def _shared(work: Callable[[int, int], Any], count: int, piece: int) -> None:
    """work(start, stop) over 0 to count in pieces, by as many threads as torch has here, this one among them."""
    threads = min(torch.get_num_threads(), math.ceil(count / piece))
    starts = iter(range(0, count, piece))

    def take() -> None:
        for start in starts:
            work(start, min(start + piece, count))

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
