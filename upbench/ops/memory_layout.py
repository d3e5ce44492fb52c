"""Large maps on huge pages, where Linux gives them to those who ask.

What is larger than 32 MiB the C library takes from the system anew each time, and what is smaller whenever something large
was freed before; the system clears it page by page when it is first written: for the 56 MiB of the papers' shape that
takes longer than to write them. Pages of 2 MiB are cleared three times as fast. Elsewhere, and where huge pages are off,
this does nothing.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from functools import cache
from typing import Any

from torch import Tensor

SMALLEST = 2**22
ADVICE: int | None = getattr(mmap, "MADV_HUGEPAGE", None)


@cache
def _madvise() -> Any:
    if ADVICE is None or not sys.platform.startswith("linux"):
        return None
    call = getattr(ctypes.CDLL(None), "madvise", None)
    if call is not None:
        call.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return call


def on_huge_pages(fresh: Tensor) -> Tensor:
    """The tensor itself, its memory marked for huge pages if it is large, on the CPU and real. Its values stay."""
    # Asked first: the size of a traced tensor may be a symbol, which must not be compared with a number.
    if type(fresh) is not Tensor or fresh.device.type != "cpu":
        return fresh
    storage = fresh.untyped_storage()
    size, first, call = storage.nbytes(), storage.data_ptr(), _madvise()
    if size >= SMALLEST and call is not None:
        start = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE
        call(start, (first + size - start) // mmap.PAGESIZE * mmap.PAGESIZE, ADVICE)
    return fresh
