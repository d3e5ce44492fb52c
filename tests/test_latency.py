"""The latency protocol, under a clock that is not a clock."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from upbench.measure import latency


class FakeClock:
    """Time passes only when a call asks for it."""

    name = "fake"

    def __init__(self) -> None:
        self.now, self.order = 0.0, []

    def now_s(self) -> float:
        return self.now

    def time_s(self, call: Callable[[], object], calls: int) -> float:
        start = self.now
        for _ in range(calls):
            call()
        self.order.append((getattr(call, "__name__", "?"), calls))
        return self.now - start

    def call(self, name: str, *costs: float) -> Callable[[], object]:
        """A call that takes costs[0], costs[1], ... and then the last of them for ever."""
        left = list(costs)

        def work() -> None:
            self.now += left.pop(0) if len(left) > 1 else left[0]

        work.__name__ = name
        return work


def test_first_call_is_reported_apart() -> None:
    clock = FakeClock()
    (timing,) = latency.measure([clock.call("a", 5.0, 0.01)], clock, 0.1)
    assert timing.first_call_s == 5.0
    assert max(timing.samples_s) == pytest.approx(0.01)


def test_rounds_are_abba() -> None:
    clock = FakeClock()
    latency.measure([clock.call("a", 0.01), clock.call("b", 0.02), clock.call("c", 0.03)], clock, 0.2)
    timed = [name for name, _ in clock.order]
    warm = len(timed) % 6
    rounds = "".join(timed[-18:])
    assert warm >= 0
    assert rounds == "abccba" * 3


def test_samples_are_long_enough_for_the_clock() -> None:
    clock = FakeClock()
    (timing,) = latency.measure([clock.call("a", 1e-4)], clock, 0.1)
    assert timing.calls_per_sample * 1e-4 >= latency.SAMPLE_S
    assert timing.samples_s[0] == pytest.approx(1e-4)


def test_stops_at_the_budget_but_not_before_three_rounds() -> None:
    clock = FakeClock()
    (slow,) = latency.measure([clock.call("slow", 10.0)], clock, 0.1)
    assert len(slow.samples_s) == latency.MIN_ROUNDS * latency.PER_ROUND
    clock = FakeClock()
    (quick,) = latency.measure([clock.call("quick", 0.01)], clock, 1.0)
    assert 0.9 <= sum(quick.samples_s) <= 1.0 + 0.02


def test_warm_up_goes_on_until_the_time_is_stable() -> None:
    clock = FakeClock()
    timing = latency.warm_up(clock.call("a", 9.0, 0.08, 0.06, 0.05, 0.04, 0.03, 0.02, 0.02, 0.02, 0.02, 0.02), clock)
    assert timing.warmup_calls == 11
    assert timing.calls_per_sample == 1


def test_an_interruption_keeps_the_complete_rounds() -> None:
    clock = FakeClock()
    calls = 0

    def interrupted() -> None:
        nonlocal calls
        calls += 1
        clock.now += 0.01
        if calls == 12:
            raise KeyboardInterrupt

    steady, cut = latency.measure([clock.call("a", 0.01), interrupted], clock, 100.0)
    assert len(steady.samples_s) == len(cut.samples_s) > 0
    assert len(cut.samples_s) % latency.PER_ROUND == 0


def test_the_garbage_collector_is_off_only_while_sampling() -> None:
    clock = FakeClock()
    seen: list[bool] = []

    def look() -> None:
        clock.now += 0.01
        seen.append(gc.isenabled())

    latency.measure([look], clock, 0.05)
    assert not any(seen)
    assert gc.isenabled()


def test_progress_never_goes_back_and_ends_near_one() -> None:
    clock, parts = FakeClock(), []
    latency.measure([clock.call("a", 0.01)], clock, 0.5, parts.append)
    assert parts == sorted(parts)
    assert 0.9 < parts[-1] <= 1.0
