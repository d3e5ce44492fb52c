"""The turns of versions that are timed in processes of their own: how long they are, their order, and what they say."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from upbench.analysis import stats
from upbench.measure import cpu_clock, rounds
from upbench.measure.cpu_clock import ClockName, Sample

TURN_S, MOST_SAMPLES = 0.02, 10
"""Most seconds and most samples of a turn, which ends with the first sample that no other process cut into; the quickest
of the turn counts. Longer calls are one sample each: there the median over rounds does it all."""


@dataclass(frozen=True)
class Timed:
    """The times of two versions.

    Args:
        change: Ratio of new to old times.
        noise_floor: Difference that the old version shows to its twin, as a part of 1.
        stopped: Why sampling ended, see `rounds.take`.
        calls_per_sample: Number of calls that each sample is the mean of.
        turns_s: Of the new version, the old one and its twin the seconds per call of every sample of every turn, two
            turns a round.
        clock: "cpu" for CPU time of the threads, or "wall".
        wall_s: The same samples by wall time.
    """

    change: stats.Ratio
    noise_floor: float
    stopped: str
    calls_per_sample: int
    turns_s: tuple[list[list[float]], ...]
    clock: ClockName = "wall"
    wall_s: tuple[list[list[float]], ...] = ()


@dataclass(frozen=True)
class Turn:
    """The length of a turn, equal for all versions, so that the clock and cold caches weigh the same in each.

    Args:
        calls: Number of calls of a sample.
        samples: Most samples of a turn.
    """

    calls: int
    samples: int


def turn_of(quickest_s: Sequence[float]) -> Turn:
    """Return the turn for versions of this speed.

    Args:
        quickest_s: Seconds of the quickest call of each version.
    """
    call_s = max(min(quickest_s), 1e-9)
    calls = max(1, math.ceil(rounds.SAMPLE_S / call_s))
    return Turn(calls, min(max(1, round(TURN_S / (calls * call_s))), MOST_SAMPLES))


def clock_of(turns: Sequence[Sequence[Sequence[Sample]]]) -> ClockName:
    """Return the clock of all versions: CPU time where that is the latency of every one of them."""
    found = [cpu_clock.latency_clock([sample for turn in side for sample in turn])[0] for side in turns]
    return "cpu" if all(clock == "cpu" for clock in found) else "wall"


def seconds(turns: Sequence[Sequence[Sequence[Sample]]], turn: Turn, clock: ClockName) -> tuple[list[list[float]], ...]:
    """Return seconds per call of every sample of every turn, by a clock."""
    return tuple([[s / turn.calls for s in cpu_clock.seconds(taken, clock)] for taken in side] for side in turns)


def together(first: Timed, second: Timed) -> Timed:
    """Return the times over the rounds of both, by wall time unless both are CPU time."""
    alike = first.clock == second.clock
    one, other = (t.turns_s for t in (first, second)) if alike else (t.wall_s for t in (first, second))
    turns = tuple(a + b for a, b in zip(one, other, strict=True))
    wall = tuple(a + b for a, b in zip(first.wall_s, second.wall_s, strict=True))
    clock: ClockName = first.clock if alike else "wall"
    noise_floor = stats.noise_floor(same(turns))
    return replace(first, change=change(turns), noise_floor=noise_floor, turns_s=turns, clock=clock, wall_s=wall)


def order(workers: int, number: int) -> list[int]:
    """Return the order of the workers in a round, forth and back.

    It is random, and keeps no step with the scheduler; but in as many rounds as there are workers each has every place
    once, as in 0 1 2 2 1 0, then 2 0 1 1 0 2, then 1 2 0 0 2 1.
    """
    drawn = random.Random(number // workers)
    names = drawn.sample(range(workers), workers)
    start = drawn.sample(range(workers), workers)[number % workers]
    forth = [names[(start + n) % workers] for n in range(workers)]
    return forth + forth[::-1]


def change(turns: Sequence[Sequence[Sequence[float]]]) -> stats.Ratio:
    """Return the ratio of the new version to the mean of old and its twin, which is less of an accident than one process.

    Args:
        turns: Turns of new, old and twin, see `Timed.turns_s`.
    """
    new, old, twin = ([min(turn) for turn in side] for side in turns)
    return stats.paired_ratio(new, [(a + b) / 2 for a, b in zip(old, twin, strict=True)])


def same(turns: Sequence[Sequence[Sequence[float]]]) -> stats.Ratio:
    """Return the ratio of the twin to the old version, the same code in two processes, from turns as in `change`."""
    _, old, twin = ([min(turn) for turn in side] for side in turns)
    return stats.paired_ratio(twin, old)
