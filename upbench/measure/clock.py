"""Clocks: how long a number of calls takes, on the device where they run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import torch

Call = Callable[[], object]


class Clock(Protocol):
    """name: what a record says of the clock. now_s: seconds for budgets; time_s: seconds that `calls` calls take."""

    name: str

    def now_s(self) -> float: ...

    def time_s(self, call: Call, calls: int) -> float: ...


class CpuClock:
    """Wall time of the calling thread; a call on the CPU returns when it is done."""

    name = "perf_counter"

    def now_s(self) -> float:
        return time.perf_counter()

    def time_s(self, call: Call, calls: int) -> float:
        start = time.perf_counter_ns()
        for _ in range(calls):
            call()
        return (time.perf_counter_ns() - start) * 1e-9


class CudaClock:
    """CUDA events on the current stream around the calls: time on the device, resolution about 0.5 us."""

    name = "cuda events"

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def now_s(self) -> float:
        return time.perf_counter()

    def time_s(self, call: Call, calls: int) -> float:
        with torch.cuda.device(self.device):
            start = torch.cuda.Event(enable_timing=True)
            end = torch.cuda.Event(enable_timing=True)
            torch.cuda.synchronize(self.device)
            start.record()
            for _ in range(calls):
                call()
            end.record()
            end.synchronize()
        return start.elapsed_time(end) * 1e-3


def clock_for(device: torch.device) -> Clock:
    return CudaClock(device) if device.type == "cuda" else CpuClock()
