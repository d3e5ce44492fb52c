"""Time of several calls, in rounds of random order."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any

Clock = Callable[[], int]
BUDGET_S = 1.5
"""Seconds that all rounds of a cell may take, after the warm-up."""
LEAST_S = 2e-3
"""Seconds that a sample takes at least: the clock has a resolution."""
FEWEST, MOST = 3, 15
"""Rounds."""
REST_S = 0.05
"""Pause before a sample of several threads: those of the runtime before it go on running for a while, and would take its cores."""


def clock_of(threads: int) -> Clock:
    """Return the clock of calls on some threads: that of the process for one, else that on the wall."""
    return time.process_time_ns if threads == 1 else time.perf_counter_ns


def rounds(
    calls: Mapping[str, Callable[[], Any]], budget_s: float = BUDGET_S, clock_ns: Clock = time.process_time_ns
) -> dict[str, list[float]]:
    """Time calls side by side.

    The clock is that of the whole process, since some runtimes compute in threads of their own; where several threads share the work,
    only that on the wall says how long it takes, and before each sample there is a pause.

    Args:
        calls: By name what is called.
        budget_s: Seconds after which no further round begins.
        clock_ns: The clock, in nanoseconds.

    Returns:
        By name the seconds of one call, one of each round.
    """
    rng = random.Random(0)
    repeats = {name: _repeats(call, clock_ns) for name, call in calls.items()}
    found: dict[str, list[float]] = {name: [] for name in calls}
    end = clock_ns() + budget_s * 1e9
    for number in range(MOST):
        if number >= FEWEST and clock_ns() >= end:
            break
        for name in rng.sample(sorted(calls), len(calls)):
            if clock_ns is time.perf_counter_ns:
                time.sleep(REST_S)
            found[name].append(_sample(calls[name], repeats[name], clock_ns))
    return found


def _repeats(call: Callable[[], Any], clock_ns: Clock) -> int:
    """Warm up, and return how many calls make a sample of `LEAST_S`."""
    call()
    return max(1, int(LEAST_S / max(_sample(call, 1, clock_ns), 1e-6)))


def _sample(call: Callable[[], Any], repeats: int, clock_ns: Clock) -> float:
    started = clock_ns()
    for _ in range(repeats):
        call()
    return (clock_ns() - started) * 1e-9 / repeats
