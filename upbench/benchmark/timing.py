"""Times workloads, several in shared rounds or one alone in passes, and makes the latencies of records of that."""

from __future__ import annotations

from collections.abc import Sequence

from upbench import units
from upbench.analysis import rounds as verdicts
from upbench.analysis import stats
from upbench.benchmark.workload import Workload, explained, failure
from upbench.machine import allocator
from upbench.measure import cpu_clock, graph, latency, rounds
from upbench.measure.clock import CpuClock
from upbench.measure.cpu_clock import Meter
from upbench.records.record import Latency

Timed = tuple[Latency, list[str]]
"""The latency of a record, and warnings for a reader of it."""


def together(
    works: Sequence[Workload],
    meter: Meter,
    budget_s: float,
    progress: latency.Progress,
    twin: Workload | None = None,
) -> tuple[list[Timed], float | None]:
    """Time workloads in shared rounds; one alone in passes, right after each other.

    Args:
        works: The workloads.
        meter: Takes the samples on their device.
        budget_s: Seconds for each.
        progress: Told the part that is done, 0 to 1.
        twin: A second build of the first workload, timed like the others; None for none.

    Returns:
        Latency and warnings of each workload, and the difference that the twins showed, as a part of 1: the further end
        of the 95 % interval of their ratio; None without a twin.

    Raises:
        RunError: If a call fails.
    """
    if len(works) == 1 and twin is None:
        alone = Alone(works[0], meter, budget_s)
        alone.rest(progress)
        return [alone.timed(works[0])], None
    every = [*works, *([twin] if twin is not None else [])]
    calls = []
    for work in every:
        with explained(work.spec):
            calls.append(work.call())
    seed = " ".join(work.spec.label for work in every)
    try:
        timings = latency.measure(calls, meter, budget_s, progress, seed=seed)
    except latency.CallFailed as failed:
        cause = failed.__cause__ or failed
        raise failure(every[failed.index].spec, cause) from cause
    found = []
    for work, call, timing in zip(works, calls, timings, strict=False):
        other = graph.measure(call, work.device)
        warnings = [*_few_rounds(timing), *timing_warnings(timing), *other.warnings(timing.samples_s)]
        found.append((_latency(work, meter, timing, other), warnings))
    if twin is None:
        return found, None
    same = verdicts.paired(timings[-1].samples_s, timings[0].samples_s, latency.PER_ROUND)
    return found, stats.noise_floor(same)


class Alone:
    """The passes over one workload.

    Args:
        work: The workload whose call is timed.
        meter: Takes the samples on its device.
        budget_s: Seconds of sampling for all passes together.
    """

    def __init__(self, work: Workload, meter: Meter, budget_s: float) -> None:
        self.work, self.meter = work, meter
        with explained(work.spec):
            self.call = work.call()
        self.passes = latency.Passes(self.call, meter, budget_s)

    def take(self, progress: latency.Progress = lambda part: None) -> None:
        """Take one more pass, where one is left.

        Args:
            progress: Told the part of all passes that is done, 0 to 1.

        Raises:
            RunError: If the call fails.
        """
        if not self.passes.left:
            return
        done, planned = self.passes.planned - self.passes.left, self.passes.planned
        try:
            self.passes.take(lambda part: progress((done + part) / planned))
        except latency.CallFailed as failed:
            cause = failed.__cause__ or failed
            raise failure(self.work.spec, cause) from cause

    def rest(self, progress: latency.Progress = lambda part: None) -> None:
        """Take all passes that are left."""
        while self.passes.left:
            self.take(progress)

    def timed(self, work: Workload) -> Timed:
        """Return latency and warnings.

        Args:
            work: The workload that the record is of, whose first call is the very first.
        """
        timing = self.passes.timing
        if timing is None:
            raise ValueError("no pass was taken")
        other = graph.measure(self.call, self.work.device)
        warnings = [
            *_few_samples(timing, self.passes.budget_s),
            *timing_warnings(timing),
            *other.warnings(timing.samples_s),
        ]
        return _latency(work, self.meter, timing, other), warnings


def _latency(work: Workload, meter: Meter, timing: latency.Timing, other: graph.Other) -> Latency:
    """Return the latency of a record, in seconds: the samples, and the conditions under which they were taken."""
    on_cpu = work.device.type == "cpu"
    return Latency(
        mode=work.spec.measure.mode,
        clock=CpuClock.name if on_cpu and timing.clock == "wall" else meter.name,
        clock_reason=timing.clock_reason if on_cpu else None,
        first_call_s=work.first_call_s,
        warmup_calls=timing.warmup_calls,
        stable=timing.stable,
        calls_per_sample=timing.calls_per_sample,
        samples_per_round=timing.per_round,
        stopped=timing.stopped,
        discarded_rounds=timing.discarded,
        host_s=other.host_s,
        graph_s=other.graph_s,
        rounds_of_pass=timing.rounds_of_pass or None,
        allocator=allocator.in_effect() if on_cpu else "device",
        share=cpu_clock.cpu_share(timing.samples),
        faults=timing.faults_per_call,
        wall_s=timing.seconds("wall") if timing.clock == "cpu" else None,
        samples_s=timing.samples_s,
    )


def _few_rounds(timing: latency.Timing) -> list[str]:
    """Return a warning where there are too few rounds for any verdict."""
    taken = len(timing.samples) // rounds.PER_ROUND
    if taken >= verdicts.T_FROM:
        return []
    return [
        f"only {taken} rounds fitted the budget, and a verdict on less than a factor of {verdicts.FAR:g} takes {verdicts.T_FROM}; "
        "raise --budget"
    ]


def _few_samples(timing: latency.Timing, budget_s: float) -> list[str]:
    """Return a warning where a call alone is so slow that it has the least number of samples; it says what was done."""
    n = len(timing.samples)
    if n > rounds.PER_ROUND * latency.FEWEST_PASSES:
        return []
    if timing.per_round == rounds.PER_ROUND:
        return [f"only {n} samples fitted the budget; raise --budget for a narrower interval"]
    return [
        f"a call takes {units.seconds(timing.call_s)}: it was timed {n} times, once in each pass, which is the least that has "
        f"an interval; raise --budget, which is {budget_s:g} s, for a narrower one"
    ]


def timing_warnings(timing: latency.Timing) -> list[str]:
    """Return warnings for a reader of the samples, each with a remedy."""
    summary = stats.summarise(timing.samples_s)
    found = []
    if summary.iqr > 0.1 * summary.median:
        found.append("the machine is noisy (IQR above 10 % of the median); close other programs or raise --budget")
    strange = stats.outliers(timing.samples_s)
    if strange[:1] == [0] and timing.samples_s[0] > summary.median:
        found.append(
            "the first sample is an outlier, as if warm-up had been too short; run again to see whether it stays"
        )
        strange = strange[1:]
    if strange:
        found.append(
            f"{len(strange)} of {summary.n} samples are outliers (kept, the median does not follow them); "
            "something else ran on this machine"
        )
    if timing.discarded:
        found.append(f"{timing.discarded} rounds were taken again because the device throttled; let it cool")
    return found
