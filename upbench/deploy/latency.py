"""Processor time of several calls, in rounds of random order."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any

BUDGET_S = 1.5
"""Processor seconds that all rounds of a cell may take, after the warm-up."""
LEAST_S = 2e-3
"""Processor seconds that a sample takes at least: the clock has a resolution."""
FEWEST, MOST = 3, 15
"""Rounds."""


def rounds(calls: Mapping[str, Callable[[], Any]], budget_s: float = BUDGET_S) -> dict[str, list[float]]:
    """Time calls side by side.

    The clock is that of the whole process, since some runtimes compute in threads of their own.

    Args:
        calls: By name what is called.
        budget_s: Processor seconds after which no further round begins.

    Returns:
        By name the processor seconds of one call, one of each round.
    """
    rng = random.Random(0)
    repeats = {name: _repeats(call) for name, call in calls.items()}
    found: dict[str, list[float]] = {name: [] for name in calls}
    end = time.process_time() + budget_s
    for number in range(MOST):
        if number >= FEWEST and time.process_time() >= end:
            break
        for name in rng.sample(sorted(calls), len(calls)):
            found[name].append(_sample(calls[name], repeats[name]))
    return found


def _repeats(call: Callable[[], Any]) -> int:
    """Warm up, and return how many calls make a sample of `LEAST_S`."""
    call()
    return max(1, int(LEAST_S / max(_sample(call, 1), 1e-6)))


def _sample(call: Callable[[], Any], repeats: int) -> float:
    started = time.process_time_ns()
    for _ in range(repeats):
        call()
    return (time.process_time_ns() - started) * 1e-9 / repeats
