"""Latency of one or several calls, measured in rounds: the one protocol, for every device.

Phases never mix: the first call (cold start, reported apart, see `Case`), warm-up until it is stable, then rounds. In a
round every call is timed twice, in the order A B C C B A, so that a slow drift of the machine adds the same to each;
ratios are later taken round by round. Sampling stops when the 95 % interval is narrow enough, when more samples no
longer narrow it, or when the budget is spent, and says which. Samples are kept as they are, outliers included; only
rounds in which the device slowed itself down (see `Clock.throttled`) are taken again, and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from upbench.analysis import stats
from upbench.measure import rounds
from upbench.measure.clock import Call, Clock, without_garbage_collection
from upbench.measure.rounds import PER_ROUND as PER_ROUND
from upbench.measure.rounds import SAMPLE_S as SAMPLE_S
from upbench.measure.rounds import WARMUP_S as WARMUP_S

Progress = Callable[[float], None]
"""Function that is told between samples the part that is done, 0 to 1."""


class CallFailed(Exception):
    """A call raised the exception that is the cause of this one.

    Args:
        index: Position of the call among those that are timed.
    """

    def __init__(self, index: int) -> None:
        super().__init__(f"call {index} failed")
        self.index = index


@dataclass
class Timing:
    """The timing of one call.

    Args:
        warmup_calls: Number of calls before the first sample.
        stable: Whether warm-up ended because the time no longer changed.
        calls_per_sample: Number of calls that each sample is the mean of.
        samples_s: Seconds per call of each sample, PER_ROUND samples to a round.
        stopped: Why sampling ended: "precise", "plateau", "budget" or "interrupted".
        discarded: Number of throttled rounds that were taken again.
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
    precision: float = rounds.PRECISION,
) -> list[Timing]:
    """Time calls in interleaved rounds. Ctrl-C ends the sampling.

    Args:
        calls: The calls.
        clock: Clock of their device.
        budget_s: Most seconds for each call; the least number of rounds is taken all the same.
        progress: Told the part that is done.
        precision: Half width of the 95 % interval, as a part of the value, that is narrow enough: of the median of a
            single call, of the ratios to the first where there are several.

    Returns:
        The timing of each call.

    Raises:
        CallFailed: If a call raises.
    """
    with without_garbage_collection():
        timings = []
        for index, call in enumerate(calls):
            with _naming(index):
                timings.append(warm_up(call, clock))
        limits = rounds.SEVERAL if len(calls) > 1 else rounds.ALONE
        taker = _Rounds(calls, clock, timings, budget_s * len(calls), limits.least, progress)
        stopped = rounds.take(limits, taker.total_s, taker.take, lambda: _width(timings), precision, clock.now_s)
    for timing in timings:
        timing.stopped, timing.discarded = stopped, taker.discarded
    return timings


class _Rounds:
    """Takes the rounds of several calls and adds their samples to the timings."""

    def __init__(
        self,
        calls: Sequence[Call],
        clock: Clock,
        timings: Sequence[Timing],
        total_s: float,
        least: int,
        progress: Progress,
    ) -> None:
        self.calls, self.clock, self.timings, self.progress = calls, clock, timings, progress
        self.total_s, self.least = total_s, least
        self.order = [*range(len(calls)), *reversed(range(len(calls)))]
        self.start, self.discarded = clock.now_s(), 0

    def take(self, done: int) -> bool:
        """Take a round and add its samples.

        Args:
            done: Number of rounds that were taken.

        Returns:
            Whether the round counts: not when the device throttled in it, but at most every second round is refused.
        """
        samples: list[list[float]] = [[] for _ in self.calls]
        for step, index in enumerate(self.order):
            count = self.timings[index].calls_per_sample
            with _naming(index):
                samples[index].append(self.clock.time_s(self.calls[index], count) / count)
            by_rounds = (done + (step + 1) / len(self.order)) / self.least
            self.progress(min((self.clock.now_s() - self.start) / self.total_s, by_rounds, 1.0))
        if self.clock.throttled() and self.discarded <= done:
            self.discarded += 1
            return False
        for timing, taken in zip(self.timings, samples, strict=True):
            timing.samples_s += taken
        return True


def warm_up(call: Call, clock: Clock) -> Timing:
    """Call until the time is stable: at least 2 calls, then until the last five agree within 2 %, or WARMUP_S.

    Args:
        call: The call.
        clock: Clock of its device.

    Returns:
        A timing without samples, with as many calls per sample as a sample of SAMPLE_S takes.
    """
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
    """Return the widest interval of what is to be reported: of the median of one call, of the ratios of several."""
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
