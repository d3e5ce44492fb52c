"""Latency of one or several calls, measured in rounds: the one protocol, for every device.

Phases never mix: the first call (cold start, reported apart, see `Case`), warm-up until it is stable, then rounds. In a
round every call is timed twice, in the order A B C C B A, so that a slow drift of the machine adds the same to each;
ratios are later taken round by round. Sampling stops when the 95 % interval is narrow enough, when more samples no
longer narrow it, or when the budget is spent, and says which. Samples are kept as they are, outliers included; only
rounds in which the device slowed itself down (see `Clock.throttled`) are taken again, and counted.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from upbench import stats
from upbench.measure.clock import Call, Clock

SAMPLE_S = 0.001
"""A sample is at least this long, so that the overhead of the clock stays below 0.1 %; and no longer, so that few
samples are cut by whatever else the machine does."""
MIN_ROUNDS, MIN_ROUNDS_ALONE = 3, 2
"""Rounds that are taken however slow a call is: of several calls, and of one alone."""
CHECK_FROM = 20
"""Rounds before the first look at the interval; each further look comes after half as many more."""
MAX_ROUNDS = 5000
WARMUP_S = 2.0
PER_ROUND = 2

Progress = Callable[[float], None]
"""Called between samples with the part that is done, 0 to 1."""


class CallFailed(Exception):
    """What a call raised is its cause. index: which of the calls it was."""

    def __init__(self, index: int) -> None:
        super().__init__(f"call {index} failed")
        self.index = index


@dataclass
class Timing:
    """What was timed of one call: seconds per call of each sample, PER_ROUND samples to a round.

    stable: whether warm-up ended because the time no longer changed. stopped: "precise", "plateau", "budget" or
    "interrupted". discarded: throttled rounds that were taken again.
    """

    warmup_calls: int = 0
    stable: bool = False
    calls_per_sample: int = 1
    samples_s: list[float] = field(default_factory=list)
    stopped: str = "budget"
    discarded: int = 0


def measure(
    calls: Sequence[Call],
    clock: Clock,
    budget_s: float,
    progress: Progress = lambda part: None,
    precision: float = 0.01,
) -> list[Timing]:
    """Time the calls in interleaved rounds for at most `budget_s` seconds each, but for the least number of rounds.

    precision: the half width, as a part of the value, at which the 95 % interval is narrow enough: that of the median
    of a single call, those of the ratios to the first where there are several. Ctrl-C ends the sampling.
    """
    with _quiet():
        timings = []
        for index, call in enumerate(calls):
            with _naming(index):
                timings.append(warm_up(call, clock))
        start, total = clock.now_s(), budget_s * len(calls)
        order = [*range(len(calls)), *reversed(range(len(calls)))]
        least = MIN_ROUNDS if len(calls) > 1 else MIN_ROUNDS_ALONE
        widths: list[float] = []
        done, discarded, next_check, stopped = 0, 0, CHECK_FROM, "budget"
        while done < MAX_ROUNDS:
            spent = clock.now_s() - start
            if done >= least and spent * (done + 1) / done > total:
                break
            if done >= next_check:
                next_check = done + max(1, done // 2)
                widths.append(_width(timings))
                if widths[-1] <= precision or stats.plateau(widths):
                    stopped = "precise" if widths[-1] <= precision else "plateau"
                    break
            samples: list[list[float]] = [[] for _ in calls]
            try:
                for step, index in enumerate(order):
                    count = timings[index].calls_per_sample
                    with _naming(index):
                        samples[index].append(clock.time_s(calls[index], count) / count)
                    by_rounds = (done + (step + 1) / len(order)) / least
                    progress(min((clock.now_s() - start) / total, by_rounds, 1.0))
            except KeyboardInterrupt:
                if done == 0:
                    raise
                stopped = "interrupted"
                break
            if clock.throttled() and discarded <= done:
                discarded += 1
                continue
            done += 1
            for timing, taken in zip(timings, samples, strict=True):
                timing.samples_s += taken
    for timing in timings:
        timing.stopped, timing.discarded = stopped, discarded
    return timings


def warm_up(call: Call, clock: Clock) -> Timing:
    """Call until the time is stable: at least 2 calls, then until the last five agree within 2 %, or WARMUP_S."""
    timing, recent = Timing(), list[float]()
    start = clock.now_s()
    while True:
        recent = [*recent[-4:], clock.time_s(call, 1)]
        timing.warmup_calls += 1
        timing.stable = len(recent) == 5 and max(recent) <= 1.02 * min(recent)
        if timing.warmup_calls >= 2 and (timing.stable or clock.now_s() - start > WARMUP_S):
            break
    # The shortest: one call that something else cut into would make every sample too short.
    least = min(recent)
    timing.calls_per_sample = max(1, round(SAMPLE_S / least + 0.5)) if least < SAMPLE_S else 1
    return timing


def _width(timings: Sequence[Timing]) -> float:
    """The widest interval of what is to be reported: of the median of one call, of the ratios of several."""
    first, *others = timings
    if not others:
        return stats.half_width(first.samples_s)
    ratios = [stats.paired_ratio(timing.samples_s, first.samples_s, PER_ROUND) for timing in others]
    return max((ratio.high - ratio.low) / 2 / ratio.value for ratio in ratios)


@contextmanager
def _naming(index: int) -> Iterator[None]:
    """Say which call it was that failed."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise CallFailed(index) from error


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
