"""Latency of one or several calls, measured in rounds.

Phases never mix: the first call of each (cold start, reported apart), warm-up until it is stable, then rounds. In a
round every call is timed twice, in the order A B C C B A, so that a slow drift of the machine adds the same to each;
ratios are later taken round by round. Samples are kept as they are, outliers included.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from upbench.measure.clock import Call, Clock

SAMPLE_S = 0.005
"""A sample is at least this long, so that the clock's resolution and overhead stay below 0.1 %."""
MIN_ROUNDS = 3
MAX_ROUNDS = 5000
WARMUP_S = 2.0
PER_ROUND = 2

Progress = Callable[[float], None]
"""Called between samples with the part that is done, 0 to 1."""


@dataclass
class Timing:
    """What was timed of one call: seconds per call of each sample, PER_ROUND samples to a round."""

    first_call_s: float
    warmup_calls: int = 1
    calls_per_sample: int = 1
    samples_s: list[float] = field(default_factory=list)


def measure(
    calls: Sequence[Call], clock: Clock, budget_s: float, progress: Progress = lambda part: None
) -> list[Timing]:
    """Time the calls in interleaved rounds until `budget_s` seconds of sampling for each are spent.

    At least MIN_ROUNDS rounds are taken, however slow a call is. Ctrl-C ends the sampling once there is a round.
    """
    with _quiet():
        timings = [warm_up(call, clock) for call in calls]
        start, total = clock.now_s(), budget_s * len(calls)
        order = [*range(len(calls)), *reversed(range(len(calls)))]
        for done in range(MAX_ROUNDS):
            spent = clock.now_s() - start
            if done >= MIN_ROUNDS and spent * (done + 1) / done > total:
                break
            samples: list[list[float]] = [[] for _ in calls]
            try:
                for step, index in enumerate(order):
                    count = timings[index].calls_per_sample
                    samples[index].append(clock.time_s(calls[index], count) / count)
                    by_rounds = (done + (step + 1) / len(order)) / MIN_ROUNDS
                    progress(min(max((clock.now_s() - start) / total, 0.0), by_rounds, 1.0))
            except KeyboardInterrupt:
                if done == 0:
                    raise
                break
            for timing, taken in zip(timings, samples, strict=True):
                timing.samples_s += taken
    return timings


def warm_up(call: Call, clock: Clock) -> Timing:
    """Call until the time is stable: at least 3 calls, then until the last five agree within 2 %, or WARMUP_S."""
    timing = Timing(first_call_s=clock.time_s(call, 1))
    start, recent = clock.now_s(), [timing.first_call_s]
    while True:
        recent = [*recent[-4:], clock.time_s(call, 1)]
        timing.warmup_calls += 1
        stable = len(recent) == 5 and max(recent) <= 1.02 * min(recent)
        if timing.warmup_calls >= 3 and (stable or clock.now_s() - start > WARMUP_S):
            break
    typical = sorted(recent)[len(recent) // 2]
    timing.calls_per_sample = max(1, round(SAMPLE_S / typical + 0.5)) if typical < SAMPLE_S else 1
    return timing


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the garbage collector out of the samples."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
