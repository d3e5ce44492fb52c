"""Clocks: how long a number of calls takes, on the device where they run."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch

Call = Callable[[], object]
"""A call without arguments, as it is timed."""


@dataclass(frozen=True)
class Prepared:
    """A call with work before and after it that is not timed.

    Args:
        call: The call that is timed.
        before: Runs before each call.
        after: Runs after each call, also where it raises.
    """

    call: Call
    before: Call
    after: Call

    def __call__(self) -> object:
        self.before()
        try:
            return self.call()
        finally:
            self.after()


class Clock(Protocol):
    """Measures how long calls take on one kind of device.

    Attributes:
        name: Name of the clock, as a record has it.
    """

    name: str

    def now_s(self) -> float:
        """Return a time in seconds, from which budgets are reckoned."""

    def time_s(self, call: Call, calls: int) -> float:
        """Return the seconds that a number of calls take together.

        Args:
            call: The call.
            calls: Number of calls, one right after the other.
        """

    def throttled(self) -> bool:
        """Return whether the device slowed itself down since this was last called."""


class CpuClock:
    """Wall time of the calling thread; a call on the CPU returns when it is done. Caches stay warm between calls."""

    name = "perf_counter, warm caches"
    ticks_ns = staticmethod(time.perf_counter_ns)

    def now_s(self) -> float:
        """Return a time in seconds."""
        return time.perf_counter()

    def time_s(self, call: Call, calls: int) -> float:
        """Return the seconds that a number of calls take together; of a `Prepared` call, without its preparation."""
        if isinstance(call, Prepared):
            return sum(self._alone_s(call) for _ in range(calls))
        start = self.ticks_ns()
        for _ in range(calls):
            call()
        return (self.ticks_ns() - start) * 1e-9

    def _alone_s(self, prepared: Prepared) -> float:
        prepared.before()
        try:
            return self.time_s(prepared.call, 1)
        finally:
            prepared.after()

    def throttled(self) -> bool:
        """Return False: a CPU does not say whether it slowed down."""
        return False


class ThreadClock(CpuClock):
    """CPU time of the calling thread, for work that no other thread helps with: what other programs take does not count."""

    name = "thread CPU time, warm caches"
    ticks_ns = staticmethod(time.thread_time_ns)


class CudaClock:
    """CUDA events around the calls: time on the device alone, in steps of about 0.5 us.

    Before each sample the L2 cache is overwritten, and the stream is held busy while the calls are issued, so that
    the device never waits for the host within a sample.

    Args:
        device: The CUDA device.
        cuda: torch.cuda, or a substitute in a test.
    """

    name = "cuda events, L2 flushed, stream held busy"

    def __init__(self, device: torch.device, cuda: Any = torch.cuda) -> None:
        self.device, self.cuda = device, cuda
        size = getattr(cuda.get_device_properties(device), "L2_cache_size", 0) or 64 * 2**20
        self.flush = torch.empty(size, dtype=torch.uint8, device=device)
        self.issue_s = 0.0
        self.monitor = _monitor(device)

    def now_s(self) -> float:
        """Return a time in seconds, on the host."""
        return time.perf_counter()

    def time_s(self, call: Call, calls: int) -> float:
        """Return the seconds that a number of calls take together; of a `Prepared` call, without its preparation."""
        if isinstance(call, Prepared):
            return sum(self._alone_s(call) for _ in range(calls))
        with self.cuda.device(self.device):
            start, end = (self.cuda.Event(enable_timing=True) for _ in range(2))
            self.flush.zero_()
            self._hold(calls)
            issued = time.perf_counter()
            start.record()
            for _ in range(calls):
                call()
            end.record()
            self.issue_s = max(self.issue_s, (time.perf_counter() - issued) / calls)
            end.synchronize()
        return start.elapsed_time(end) * 1e-3

    def _alone_s(self, prepared: Prepared) -> float:
        with self.cuda.device(self.device):
            prepared.before()
        try:
            return self.time_s(prepared.call, 1)
        finally:
            prepared.after()

    def _hold(self, calls: int) -> None:
        """Keep the stream busy for as long as it takes to issue the calls (torch's spinning kernel, at 2 GHz)."""
        spin = getattr(self.cuda, "_sleep", None)
        if spin is not None and self.issue_s:
            spin(int(min(1.5 * self.issue_s * calls, 0.1) * 2e9))

    def throttled(self) -> bool:
        """Return whether heat or power hold the clocks down, as NVML says; False without NVML."""
        return self.monitor() if self.monitor else False


def _monitor(device: torch.device) -> Callable[[], bool] | None:
    """Return a function that asks NVML whether the clocks are held down by heat or power; None without NVML."""
    try:
        import pynvml

        pynvml.nvmlInit()
        uuid = torch.cuda.get_device_properties(device).uuid
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except Exception:  # noqa: BLE001 - NVML is optional, and fails in many ways where it is half installed
        return None
    slowed = (
        pynvml.nvmlClocksThrottleReasonHwSlowdown
        | pynvml.nvmlClocksThrottleReasonSwThermalSlowdown
        | pynvml.nvmlClocksThrottleReasonHwThermalSlowdown
        | pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown
    )
    return lambda: bool(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle) & slowed)


def clock_for(device: torch.device) -> Clock:
    """Return the clock of a device: CUDA events on CUDA, wall time anywhere else."""
    return CudaClock(device) if device.type == "cuda" else CpuClock()


def alone_clock_for(device: torch.device) -> Clock:
    """Return the clock of calls that never wait: CPU time of the thread on a CPU with one thread, else `clock_for`."""
    return ThreadClock() if device.type == "cpu" and torch.get_num_threads() == 1 else clock_for(device)


_gone_through = False
"""Whether garbage of every age was collected in this process."""


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Collect garbage, and keep the collector out of the samples that are taken inside.

    What is old is gone through once in a process, later what is young alone: torch with its compiler holds a million objects.
    """
    global _gone_through
    enabled = gc.isenabled()
    # Where the collector is off, nobody else goes through what is old.
    gc.collect(1 if _gone_through and enabled else 2)
    _gone_through = True
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
