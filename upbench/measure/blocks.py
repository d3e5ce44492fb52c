"""A block: a reference and a few calls, alive in one process and timed in rounds of random order.

A round calls each in a random order and then in the reverse of it, so that a drift of the machine adds the same to each,
and no call keeps step with the scheduler's rhythm. Nothing waits for times to become stable: what drifts, drifts for
all. A call that raises leaves the block, and the others go on. What a pass over many cells says is in `analysis.passes`.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from upbench.errors import UpbenchError
from upbench.measure import cpu_clock
from upbench.measure.clock import Call, without_garbage_collection
from upbench.measure.cpu_clock import ClockName, Meter, Sample

SAMPLE_S = 0.001
"""A sample is at least this long, so that the clock itself is below 0.1 % of it."""
WARMUP_CALLS = 3
SLOW_CALL_S = 0.5
"""A call that takes this long is warmed up by one call."""
MIN_ROUNDS, MIN_SLOW_ROUNDS, SLOW_ROUND_S = 5, 3, 2.0
"""Rounds that are taken however slow they are; the fewer ones where a round takes SLOW_ROUND_S."""
MAX_ROUNDS = 2000
FIRST_LOOK = 20
"""Rounds before `enough` is asked for the first time; each further look comes after half as many more."""
PER_ROUND = 2
REFERENCE = 0
"""The number of the reference among the calls of a block."""


class BlockError(UpbenchError):
    """A block whose reference failed, so that nothing in it can be compared."""


@dataclass
class Timed:
    """What was taken of one call.

    Args:
        error: What it raised, after which it has no samples.
        calls: Calls in each sample.
        samples: PER_ROUND of each round, in the order taken.
    """

    calls: int = 1
    samples: list[Sample] = field(default_factory=list)
    error: BaseException | None = None

    def seconds(self, clock: str) -> list[float]:
        """Seconds a call of each sample, by "cpu" or "wall"."""
        named: ClockName = "wall" if clock == "wall" else "cpu"
        return [seconds / self.calls for seconds in cpu_clock.seconds(self.samples, named)]

    @property
    def faults_per_call(self) -> float | None:
        """The median over samples of page faults a call; None where they are not counted."""
        known = [sample.faults for sample in self.samples if sample.faults is not None]
        return statistics.median(known) / self.calls if known else None


def measure(
    calls: Sequence[Call],
    meter: Meter,
    order: random.Random,
    budget_s: float,
    announce: Callable[[int], None] = lambda number: None,
    progress: Callable[[float], None] = lambda part: None,
    enough: Callable[[Sequence[Timed]], bool] = lambda timed: False,
) -> list[Timed]:
    """Warm up the calls and time them in rounds, at least MIN_ROUNDS and until `budget_s` seconds are spent.

    Args:
        calls: What is timed; the first is the reference.
        meter: Takes the samples.
        order: Draws the order of each round.
        budget_s: Seconds for the rounds of all calls together.
        announce: Called with the number of a call before it is made, so that a process that dies leaves its name.
        progress: Called between rounds with the part of the budget, and of the least number of rounds, that is done.
        enough: Asked now and then whether what was taken is enough. Without it the budget is always spent, which is
            right for passes: rounds agree with each other best when the machine is about to change.

    Raises:
        BlockError: The reference raised; its cause is what it raised.
        KeyboardInterrupt: Ctrl-C before the first round was complete; later it ends the rounds.
    """
    found = [Timed() for _ in calls]
    with without_garbage_collection():
        for n, call in enumerate(calls):
            announce(n)
            _warm_up(found[n], call, meter, is_reference=n == REFERENCE)
        start, done, discarded, next_look = meter.now_s(), 0, 0, FIRST_LOOK
        while done < MAX_ROUNDS:
            spent = meter.now_s() - start
            least = MIN_SLOW_ROUNDS if done and spent / done > SLOW_ROUND_S else MIN_ROUNDS
            if done >= least and spent * (done + 1) / done > budget_s:
                break
            if done >= next_look:
                next_look = done + done // 2
                if enough(found):
                    break
            progress(min(1.0, spent / budget_s, done / least) if budget_s > 0 else min(1.0, done / least))
            try:
                taken = _round(found, calls, meter, order, announce)
            except KeyboardInterrupt:
                if done == 0:
                    raise
                break
            if meter.throttled() and discarded <= done:
                discarded += 1
                continue
            done += 1
            for n, samples in taken.items():
                found[n].samples += samples
    return found


def _warm_up(timed: Timed, call: Call, meter: Meter, is_reference: bool) -> None:
    """Call a few times, and settle how many calls make a sample."""
    taken: list[Sample] = []
    for _ in range(WARMUP_CALLS):
        try:
            sample = meter.sample(call, 1)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's module may raise anything
            _leave(timed, error, is_reference)
            return
        taken.append(sample)
        if sample.wall_s > SLOW_CALL_S:
            break
    # By the clock that is its latency: of a call that waits for something, CPU time says next to nothing.
    shortest = min(cpu_clock.seconds(taken, cpu_clock.latency_clock(taken)[0]))
    timed.calls = math.ceil(SAMPLE_S / max(shortest, 1e-7)) if shortest < SAMPLE_S else 1


def _round(
    found: Sequence[Timed],
    calls: Sequence[Call],
    meter: Meter,
    order: random.Random,
    announce: Callable[[int], None],
) -> dict[int, list[Sample]]:
    """One round: the samples of every call that did not raise, by its number."""
    alive = [n for n, timed in enumerate(found) if timed.error is None]
    order.shuffle(alive)
    taken: dict[int, list[Sample]] = {n: [] for n in alive}
    for n in (*alive, *reversed(alive)):
        if n not in taken:
            continue
        announce(n)
        try:
            taken[n].append(meter.sample(calls[n], found[n].calls))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's module may raise anything
            del taken[n]
            _leave(found[n], error, n == REFERENCE)
    return taken


def _leave(timed: Timed, error: BaseException, is_reference: bool) -> None:
    if is_reference:
        raise BlockError("the reference call of a block failed") from error
    timed.error = error.with_traceback(None)  # its frames would keep the call's tensors alive
    timed.samples.clear()
