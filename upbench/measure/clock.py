"""Clocks: how long a number of calls takes, on the device where they run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

Call = Callable[[], object]


@dataclass(frozen=True)
class Prepared:
    """A call with something to do before and after each time it runs, which is not part of what is timed."""

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
    """name: what a record says of the clock. now_s: seconds for budgets; time_s: seconds that `calls` calls take.

    throttled: whether the device slowed itself down since it was last asked.
    """

    name: str

    def now_s(self) -> float: ...

    def time_s(self, call: Call, calls: int) -> float: ...

    def throttled(self) -> bool: ...


class CpuClock:
    """Wall time of the calling thread; a call on the CPU returns when it is done. Caches stay warm between calls."""

    name = "perf_counter, warm caches"

    def now_s(self) -> float:
        return time.perf_counter()

    def time_s(self, call: Call, calls: int) -> float:
        if isinstance(call, Prepared):
            return sum(self._alone_s(call) for _ in range(calls))
        start = time.perf_counter_ns()
        for _ in range(calls):
            call()
        return (time.perf_counter_ns() - start) * 1e-9

    def _alone_s(self, prepared: Prepared) -> float:
        prepared.before()
        try:
            return self.time_s(prepared.call, 1)
        finally:
            prepared.after()

    def throttled(self) -> bool:
        return False


class CudaClock:
    """CUDA events around the calls: time on the device alone, resolution about 0.5 us.

    Before each sample the L2 cache is overwritten, and the stream is held busy while the calls are issued, so that
    the device never waits for the host within a sample. cuda: torch.cuda, or what stands for it in a test.
    """

    name = "cuda events, L2 flushed, stream held busy"

    def __init__(self, device: torch.device, cuda: Any = torch.cuda) -> None:
        self.device, self.cuda = device, cuda
        size = getattr(cuda.get_device_properties(device), "L2_cache_size", 0) or 64 * 2**20
        self.flush = torch.empty(size, dtype=torch.uint8, device=device)
        self.issue_s = 0.0
        self.monitor = _monitor(device)

    def now_s(self) -> float:
        return time.perf_counter()

    def time_s(self, call: Call, calls: int) -> float:
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
        return self.monitor() if self.monitor else False


def _monitor(device: torch.device) -> Callable[[], bool] | None:
    """A function that asks NVML whether the clocks are held down by heat or power; None without NVML."""
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
    return CudaClock(device) if device.type == "cuda" else CpuClock()
