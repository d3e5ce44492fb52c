"""The processor's clock: what a call takes of the processor by itself, with wall time beside it.

Where other programs run, wall time counts what they took as well. The thread's CPU time does not, and equals wall time
where nothing else runs. It is the latency of a call only while the call never waits and no other thread works for it;
`latency_clock` says whether that is so.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol

import torch

from upbench.measure.clock import Call, Clock, Prepared, clock_for

WAITING, HELPED = 0.02, 0.02
"""The parts of CPU time by which wall time of an undisturbed sample, and CPU time of other threads, may exceed it."""

ClockName = Literal["cpu", "wall"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample: some calls in a row. Times are seconds of all these calls together; None where there is no counter.

    Args:
        wall_s: Elapsed; on a GPU, between the events around the calls.
        cpu_s: Of the calling thread.
        process_s: CPU time of all threads.
        faults: Page faults that needed no disk.
        blocked: How often the thread gave up its core to wait.
        preempted: How often it was taken.
    """

    wall_s: float
    cpu_s: float | None = None
    process_s: float | None = None
    faults: int | None = None
    blocked: int | None = None
    preempted: int | None = None


class Meter(Protocol):
    """Takes samples.

    Args:
        name: What a record says of it.
    """

    name: str

    def now_s(self) -> float:
        """Return seconds of a clock that budgets are kept by."""

    def sample(self, call: Call, calls: int) -> Sample:
        """Run a call some times in a row and return what all of them took together.

        Args:
            call: What is called.
            calls: How often.
        """

    def throttled(self) -> bool:
        """Return whether the device slowed itself down since this was last called."""


class ThreadMeter:
    """CPU time of the calling thread, wall time, page faults and context switches of each sample."""

    name = "thread CPU time, warm caches"

    def now_s(self) -> float:
        """Return wall time in seconds."""
        return time.perf_counter()

    def sample(self, call: Call, calls: int) -> Sample:
        """Run a call some times in a row and return what all of them took together.

        Of a call with a preparation, each run is sampled by itself, without the preparation.

        Args:
            call: What is called.
            calls: How often.
        """
        if isinstance(call, Prepared):
            return _together([self._alone(call) for _ in range(calls)])
        before = _usage()
        process, wall, cpu = time.process_time_ns(), time.perf_counter_ns(), time.thread_time_ns()
        for _ in range(calls):
            call()
        cpu, wall = time.thread_time_ns() - cpu, time.perf_counter_ns() - wall
        process = time.process_time_ns() - process
        after = _usage()
        used = (
            (None,) * 3 if before is None or after is None else tuple(b - a for a, b in zip(before, after, strict=True))
        )
        return Sample(wall * 1e-9, cpu * 1e-9, process * 1e-9, *used)

    def _alone(self, prepared: Prepared) -> Sample:
        prepared.before()
        try:
            return self.sample(prepared.call, 1)
        finally:
            prepared.after()

    def throttled(self) -> bool:
        """Return False: a CPU does not say whether it slowed down."""
        return False


def meter_for(device: torch.device) -> Meter:
    """Return what samples are taken with on a device: CPU time and wall time on a CPU, the device's own clock elsewhere."""
    return ThreadMeter() if device.type == "cpu" else ClockMeter(clock_for(device))


class ClockMeter:
    """Samples of a clock that has wall time, or a device's time, alone."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.name = clock.name

    def now_s(self) -> float:
        """Return seconds of the clock."""
        return self.clock.now_s()

    def sample(self, call: Call, calls: int) -> Sample:
        """Run a call some times in a row and return the time of all of them together, in seconds.

        Args:
            call: What is called.
            calls: How often.
        """
        return Sample(self.clock.time_s(call, calls))

    def throttled(self) -> bool:
        """Return whether the clock says that the device slowed itself down."""
        return self.clock.throttled()


def _together(samples: Sequence[Sample]) -> Sample:
    """One sample of the calls of several; None for what one of them did not count."""

    def total(values: Sequence[Any]) -> Any:
        return None if None in values else sum(values)

    names = [one.name for one in fields(Sample)]
    return Sample(**{name: total([getattr(sample, name) for sample in samples]) for name in names})


def _usage() -> tuple[int, int, int] | None:
    """Minor page faults, voluntary and involuntary context switches of this thread."""
    if sys.platform != "linux":
        return None
    import resource

    used = resource.getrusage(resource.RUSAGE_THREAD)
    return used.ru_minflt, used.ru_nvcsw, used.ru_nivcsw


def latency_clock(samples: Sequence[Sample]) -> tuple[ClockName, str | None]:
    """Return the clock whose time is the latency of a call, and where it is wall time, why.

    A call that waits gives up its core, and one whose work is done by other threads shows in the process's CPU time.
    Samples that were preempted say nothing of waiting, since other programs had the core.
    """
    if any(sample.cpu_s is None for sample in samples) or not samples:
        return "wall", "this device has no CPU time"
    own = sum(sample.cpu_s or 0.0 for sample in samples)
    helped = sum(sample.process_s or 0.0 for sample in samples) - own
    if helped > HELPED * own:
        return "wall", f"other threads of the process worked as well ({helped / max(own, 1e-9):.0%} of its CPU time)"
    if any(sample.blocked is None or sample.preempted is None for sample in samples):
        return "wall", "this system does not say whether a call waited"
    if sum(bool(sample.blocked) for sample in samples) * 2 > len(samples):
        return "wall", "the call waits for something"
    undisturbed = [s.wall_s / s.cpu_s for s in samples if s.cpu_s and not s.blocked and not s.preempted]
    if undisturbed and (over := statistics.median(undisturbed)) > 1 + WAITING:
        return "wall", f"wall time is {over:.2f} times CPU time even where nothing interrupted"
    return "cpu", None


def seconds(samples: Sequence[Sample], clock: ClockName) -> list[float]:
    """Return the seconds of samples by a clock; wall time also where there is no CPU time."""
    return [s.wall_s if clock == "wall" or s.cpu_s is None else s.cpu_s for s in samples]


def cpu_share(samples: Sequence[Sample]) -> float | None:
    """Return CPU time over wall time of all samples together: the part of a core that the process had."""
    if not samples or any(sample.cpu_s is None for sample in samples):
        return None
    return sum(sample.cpu_s or 0.0 for sample in samples) / sum(sample.wall_s for sample in samples)
