"""Latency of one or several calls, measured in rounds: the protocol of profiles and comparisons, for every device.

Phases never mix: the first call (cold start, reported apart, see `Case`), warm-up until it is stable, then rounds. In a
round every call is timed twice, in a random order and then in the reverse of it: a slow drift of the machine adds the
same to each, and no call keeps step with the rhythm of the scheduler. Ratios are later taken round by round. Sampling
stops when the 95 % interval is narrow enough, when more samples no longer narrow it, or when the budget is spent, and
says which. A call alone has no partner in a round: it is timed in passes that are spread over a run, see `Passes`.
Samples are kept as they are, outliers included; only rounds in which the device slowed itself down (see
`Clock.throttled`) are taken again, and counted.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from upbench.analysis import stats
from upbench.measure import cpu_clock, rounds
from upbench.measure.clock import Call, without_garbage_collection
from upbench.measure.cpu_clock import ClockName, Meter, Sample
from upbench.measure.rounds import PER_ROUND as PER_ROUND
from upbench.measure.rounds import SAMPLE_S as SAMPLE_S

Progress = Callable[[float], None]
"""Function that is told between samples the part that is done, 0 to 1."""

PASSES, FEWEST_PASSES = 5, 3
"""Number of passes of a call alone, and of one so slow that five would go beyond its budget."""


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
        call_s: Seconds of the quickest call of the warm-up.
        calls_per_sample: Number of calls in each sample.
        samples: The samples, PER_ROUND to a round.
        stopped: Why sampling ended: "precise", "plateau", "budget" or "interrupted".
        discarded: Number of throttled rounds that were taken again.
        clock: "cpu" where the CPU time of the thread is the latency of the call, else "wall".
        clock_reason: Why it is wall time; None for CPU time.
        rounds_of_pass: Number of rounds in each pass; empty for calls that were timed against each other.
        per_round: Number of samples in a round: one of a call alone of which two in each pass would exceed the budget.
    """

    warmup_calls: int = 0
    stable: bool = False
    call_s: float = 0.0
    calls_per_sample: int = 1
    samples: list[Sample] = field(default_factory=list)
    stopped: str = "budget"
    discarded: int = 0
    clock: ClockName = "wall"
    clock_reason: str | None = None
    rounds_of_pass: list[int] = field(default_factory=list)
    per_round: int = PER_ROUND

    @property
    def samples_s(self) -> list[float]:
        """Seconds per call of each sample, by the clock of the call."""
        return self.seconds(self.clock)

    def seconds(self, clock: ClockName) -> list[float]:
        """Return the seconds per call of each sample.

        Args:
            clock: "cpu" or "wall"; wall time also where there is no CPU time.
        """
        return [seconds / self.calls_per_sample for seconds in cpu_clock.seconds(self.samples, clock)]

    @property
    def faults_per_call(self) -> float | None:
        """Median over the samples of page faults per call; None where they are not counted."""
        known = [sample.faults for sample in self.samples if sample.faults is not None]
        return statistics.median(known) / self.calls_per_sample if known else None


def measure(
    calls: Sequence[Call],
    meter: Meter,
    budget_s: float,
    progress: Progress = lambda part: None,
    precision: float = rounds.PRECISION,
    seed: str = "",
) -> list[Timing]:
    """Time calls in interleaved rounds. Ctrl-C ends the sampling.

    All are timed by one clock: where wall time is the latency of one of them, it is that of all.

    Args:
        calls: The calls.
        meter: Takes the samples.
        budget_s: Most seconds for each call; the least number of rounds is taken all the same.
        progress: Told the part that is done.
        precision: Half width of the 95 % interval, as a part of the value, that is narrow enough: of the median of a
            single call, of the ratios to the first where there are several.
        seed: Determines the order of the calls in each round.

    Returns:
        The timing of each call.

    Raises:
        CallFailed: If a call raises.
        InputError: If the environment's limit of a warm-up is no number.
    """
    longest_s = rounds.warmup_s()  # its mistake is none of a call
    with without_garbage_collection():
        timings = []
        for index, call in enumerate(calls):
            with _naming(index):
                timings.append(warm_up(call, meter, longest_s))
        limits = rounds.SEVERAL if len(calls) > 1 else rounds.ALONE
        taker = _Rounds(calls, meter, timings, budget_s * len(calls), limits.least, progress, random.Random(seed))

        def width() -> float:
            _settle_clock(timings)
            return _width(timings)

        stopped = rounds.take(limits, taker.total_s, taker.take, width, precision, meter.now_s)
    _settle_clock(timings)
    for timing in timings:
        timing.stopped, timing.discarded = stopped, taker.discarded
    return timings


class Passes:
    """Times a call alone in passes, between which other work may be done: what changes within a run shows between them.

    Args:
        call: The call.
        meter: Takes the samples.
        budget_s: Seconds of sampling for all passes together; one sample of each pass is taken all the same.

    Raises:
        InputError: If the environment's limit of a warm-up is no number.
    """

    def __init__(self, call: Call, meter: Meter, budget_s: float) -> None:
        self.longest_s = rounds.warmup_s()
        self.call, self.meter, self.budget_s = call, meter, budget_s
        self.timing: Timing | None = None
        self.planned = PASSES

    @property
    def left(self) -> int:
        """Number of passes that are still to be taken; none after Ctrl-C."""
        if self.timing is None:
            return self.planned
        return 0 if self.timing.stopped == "interrupted" else self.planned - len(self.timing.rounds_of_pass)

    def take(self, progress: Progress = lambda part: None) -> None:
        """Take one pass; the first one warms the call up.

        Args:
            progress: Told the part of this pass that is done.

        Raises:
            CallFailed: If the call raises.
            KeyboardInterrupt: Before the first round was complete; later Ctrl-C ends all passes.
        """
        with without_garbage_collection():
            if self.timing is None:
                with _naming(0):
                    # The first call of the case came before, and is the other one of two.
                    self.timing = warm_up(self.call, self.meter, self.longest_s, least=1)
                sample_s = self.timing.calls_per_sample * self.timing.call_s
                if PASSES * PER_ROUND * sample_s > self.budget_s:
                    self.planned = FEWEST_PASSES
                if FEWEST_PASSES * PER_ROUND * sample_s > self.budget_s:
                    self.timing.per_round = 1
            timing, budget_s = self.timing, self.budget_s / self.planned
            taker = _Rounds([self.call], self.meter, [timing], budget_s, 1, progress, random.Random())
            limits = rounds.Limits(least=1, check_from=rounds.ALONE.most, most=rounds.ALONE.most // self.planned)
            before = len(timing.samples)
            try:
                stopped = rounds.take(limits, budget_s, taker.take, lambda: 1.0, now_s=self.meter.now_s)
            except KeyboardInterrupt:
                if not before:
                    raise
                stopped = "interrupted"
        timing.discarded += taker.discarded
        timing.stopped = stopped
        if taken := len(timing.samples) - before:
            timing.rounds_of_pass.append(taken // timing.per_round)
        _settle_clock([timing])


class _Rounds:
    """Takes the rounds of several calls and adds their samples to the timings."""

    def __init__(
        self,
        calls: Sequence[Call],
        meter: Meter,
        timings: Sequence[Timing],
        total_s: float,
        least: int,
        progress: Progress,
        order: random.Random,
    ) -> None:
        self.calls, self.meter, self.timings, self.progress = calls, meter, timings, progress
        self.total_s, self.least, self.order = total_s, least, order
        self.start, self.discarded = meter.now_s(), 0

    def take(self, done: int) -> bool:
        """Take a round and add its samples.

        Args:
            done: Number of rounds that were taken.

        Returns:
            Whether the round counts: not when the device throttled in it, but at most every second round is refused.
        """
        samples: list[list[Sample]] = [[] for _ in self.calls]
        forth = self.order.sample(range(len(self.calls)), len(self.calls))
        order = [*forth, *reversed(forth)] if self.timings[0].per_round == PER_ROUND else forth
        for step, index in enumerate(order):
            with _naming(index):
                samples[index].append(self.meter.sample(self.calls[index], self.timings[index].calls_per_sample))
            by_rounds = (done + (step + 1) / len(order)) / self.least
            self.progress(min((self.meter.now_s() - self.start) / self.total_s, by_rounds, 1.0))
        if self.meter.throttled() and self.discarded <= done:
            self.discarded += 1
            return False
        for timing, taken in zip(self.timings, samples, strict=True):
            timing.samples += taken
        return True


def warm_up(call: Call, meter: Meter, longest_s: float | None = None, least: int = 2) -> Timing:
    """Call until the time is stable: until the last five agree within 2 %, or one more would exceed `rounds.warmup_s`.

    Args:
        call: The call.
        meter: Takes the samples.
        longest_s: Most seconds, in place of `rounds.warmup_s`.
        least: Number of calls that are made however slow they are.

    Returns:
        A timing without samples, with as many calls per sample as a sample of SAMPLE_S takes.
    """
    timing, recent = Timing(), list[Sample]()
    longest_s = rounds.warmup_s() if longest_s is None else longest_s
    start = meter.now_s()
    while True:
        recent = [*recent[-4:], meter.sample(call, 1)]
        timing.warmup_calls += 1
        times = _seconds(recent)
        timing.stable = len(times) == 5 and max(times) <= 1.02 * min(times)
        spent_s = meter.now_s() - start
        another_s = spent_s / timing.warmup_calls
        if timing.warmup_calls >= least and (timing.stable or spent_s + another_s > longest_s):
            break
    # The shortest: one call that something else cut into would make every sample too short.
    timing.call_s = max(min(times), 1e-7)
    timing.calls_per_sample = max(1, round(SAMPLE_S / timing.call_s + 0.5)) if timing.call_s < SAMPLE_S else 1
    return timing


def _seconds(samples: Sequence[Sample]) -> list[float]:
    """Return the time of samples of one call each, by the clock that is its latency: one that waits has little CPU time."""
    clock, _ = cpu_clock.latency_clock(samples)
    return cpu_clock.seconds(samples, clock)


def _settle_clock(timings: Sequence[Timing]) -> None:
    """Set the clock of calls that are compared: the thread's CPU time where it is the latency of every one of them."""
    found = [cpu_clock.latency_clock(timing.samples) for timing in timings]
    common: ClockName = "cpu" if all(clock == "cpu" for clock, _ in found) else "wall"
    why = next((reason for _, reason in found if reason), None)
    for timing, (clock, reason) in zip(timings, found, strict=True):
        timing.clock = common
        other = f"another call of this comparison is timed by wall time: {why}" if clock != common else None
        timing.clock_reason = reason or other


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
