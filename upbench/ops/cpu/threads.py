"""Shares the work of a C kernel out among as many threads as torch has, its own where it uses OpenMP.

Threads beside torch's would fight with them: those of OpenMP go on running for milliseconds after an operator, so that a pool of
our own found no core free, and two threads took as long as one.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch

from upbench.ops import thresholds

GRAIN = 2**16
"""Terms that are worth a thread: a few microseconds. Where other programs have a core, waiting for a thread takes milliseconds."""


def run(module: Any, entry: str, job: ctypes.Structure, count: int, piece: int, terms: int) -> None:
    """Run an entry of a module of kernels over all its tiles, a piece at a time, by as many threads as torch has here.

    Args:
        module: that has the entry.
        entry: its name.
        job: the struct that it takes.
        count: number of tiles.
        piece: tiles that a thread takes at a time.
        terms: products or numbers that all tiles sum or move, about; few are left to one thread.
    """
    threads = min(torch.get_num_threads(), max(1, terms // thresholds.scaled(GRAIN)))
    getattr(module, entry)(ctypes.addressof(job), ctypes.sizeof(job), count, piece, threads)
