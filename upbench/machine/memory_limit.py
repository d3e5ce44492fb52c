"""Bounds the memory that a worker may take, so that a cell that needs too much gets an error, and the machine stays up."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SHARE = 0.9
"""Part of the memory that is free when a cell starts, which the cell may take."""
CGROUP = Path("/sys/fs/cgroup")
"""Folder in which Linux keeps the limits of a container."""
OUT_OF_MEMORY = ("DefaultCPUAllocator", "not enough memory", "out of memory", "ALLOC_FAILED")
"""Words in errors of torch and its libraries that say that memory ran out, where they have no class of their own for it."""


def ran_out(error: BaseException | None) -> bool:
    """Return whether an error says that memory ran out, or was raised from one that does."""
    while error is not None:
        if _is_memory(error):
            return True
        error = error.__cause__
    return False


def _is_memory(error: BaseException) -> bool:
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(part in str(error) for part in OUT_OF_MEMORY)


def available_bytes() -> int | None:
    """Return the bytes that can be taken without swapping, on the machine or in a container that has less.

    Returns:
        Bytes; None where the system does not say.
    """
    found = re.search(r"^MemAvailable:\s*(\d+) kB", _read(Path("/proc/meminfo")), re.MULTILINE)
    free = [int(found[1]) * 1024] if found else []
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        most, now = _read(CGROUP / limit).strip(), _read(CGROUP / used).strip()
        if most.isdigit() and now.isdigit():
            free.append(max(int(most) - int(now), 0))
    return min(free, default=None)


@contextmanager
def limited(limit_bytes: int | None, applies: bool = True) -> Iterator[None]:
    """Let this process take only so much more memory; an allocation beyond that fails.

    It bounds what the process writes to or may write to (RLIMIT_DATA), not files it has mapped. Where the system does
    not say what is free, nothing is bounded.

    Args:
        limit_bytes: Bytes that may be taken in addition; None stands for SHARE of what is free.
        applies: Whether anything is bounded at all.
    """
    free = available_bytes() if limit_bytes is None else None
    more = limit_bytes if free is None else int(SHARE * free)
    taken = re.search(r"^VmData:\s*(\d+) kB", _read(Path("/proc/self/status")), re.MULTILINE)
    if not applies or more is None or taken is None:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    asked = int(taken[1]) * 1024 + more
    known = [bound for bound in (asked, soft, hard) if bound != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(known), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def be_the_first_to_go() -> None:
    """Tell the kernel to end this process first where memory runs out, and not its parent or another."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def kills() -> int | None:
    """Return how many processes the kernel has killed for want of memory since it started; None where it does not say."""
    found = re.search(r"^oom_kill (\d+)", _read(Path("/proc/vmstat")), re.MULTILINE)
    return int(found[1]) if found else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
