"""What malloc does with memory that a call gives back, pinned for a whole process.

glibc returns a large block to the system when it is freed, and raises the size from which it does so with each such
block. The same call then costs a page fault for every 4 KiB of its tensors, or for a part of them, or for none, as the
calls *before* it in the process have left malloc. That changes its time by up to a factor of 2.5. Pinning takes the
state away: memory is always kept, or always returned. Both are read from the environment when a process starts.

Source: mallopt(3), "Environment variables" and M_MMAP_THRESHOLD.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Literal

Allocator = Literal["kept", "returned", "unpinned"]
"""kept: freed memory stays with the process; returned: large blocks always go back; unpinned: neither is ensured."""

Pinning = Literal["kept", "returned"]
"""Those that can be asked for."""
PINNINGS: tuple[Pinning, ...] = ("kept", "returned")

PINNED: dict[str, dict[str, str]] = {
    "kept": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(16 * 2**20)},
    "returned": {"MALLOC_MMAP_THRESHOLD_": str(128 * 2**10)},
}
ALWAYS_MAPPED = 40 * 2**20
"""Bytes of a block that glibc maps whatever it learned before: more than the largest threshold it raises itself to."""
OTHER_ALLOCATORS = ("jemalloc", "tcmalloc", "mimalloc")


def worker_environment(allocator: Pinning, base: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which a new process has this allocator.

    Args:
        allocator: What large freed blocks do, see `Allocator`.
        base: The environment to start from, such as os.environ; its own settings of glibc's malloc are left out.
    """
    found = {name: value for name, value in base.items() if not (name.startswith("MALLOC_") and name.endswith("_"))}
    tunables = [t for t in found.pop("GLIBC_TUNABLES", "").split(":") if t and not t.startswith("glibc.malloc.")]
    if tunables:
        found["GLIBC_TUNABLES"] = ":".join(tunables)
    return {**found, **PINNED[allocator]}


def in_effect() -> Allocator:
    """Return what this process's malloc really does, whatever its environment says.

    Asks malloc for one large block and looks whether it was mapped by itself; the block is never touched.
    """
    if not _is_glibc() or _replaced():
        return "unpinned"
    started_with = environment_at_start()
    mapped = _maps_large_blocks()
    if not mapped and started_with.get("MALLOC_TRIM_THRESHOLD_") == PINNED["kept"]["MALLOC_TRIM_THRESHOLD_"]:
        return "kept"
    same = all(started_with.get(name) == value for name, value in PINNED["returned"].items())
    return "returned" if mapped and same else "unpinned"


def trim() -> bool:
    """Give all memory that malloc keeps and nobody uses back to the system; whether there was a way to do so.

    Between two measurements, so that a limit on memory counts what the next one takes, and not what the last one left.
    """
    if not _is_glibc():
        return False
    _libc().malloc_trim(ctypes.c_size_t(0))
    return True


class _Mallinfo(ctypes.Structure):
    """glibc's `struct mallinfo2`."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    ]


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


@cache
def _is_glibc() -> bool:
    try:
        return all(hasattr(_libc(), name) for name in ("gnu_get_libc_version", "malloc_trim"))
    except OSError:
        return False


def _replaced() -> bool:
    """Whether another allocator was loaded in place of glibc's."""
    with suppress(OSError):
        maps = Path("/proc/self/maps").read_text()
        return any(name in maps for name in OTHER_ALLOCATORS)
    return False


def environment_at_start() -> Mapping[str, str]:
    """The environment that malloc saw; os.environ may have changed since."""
    try:
        raw = Path("/proc/self/environ").read_bytes()
    except OSError:
        return os.environ
    pairs = (entry.partition(b"=") for entry in raw.split(b"\0") if entry)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def _maps_large_blocks() -> bool:
    libc = _libc()
    info = getattr(libc, "mallinfo2", None)
    if info is None:  # glibc before 2.33
        return "MALLOC_MMAP_MAX_" not in environment_at_start()
    info.restype = _Mallinfo
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    before = info().hblks
    block = libc.malloc(ALWAYS_MAPPED)
    mapped = bool(info().hblks > before)
    libc.free(block)
    return mapped
