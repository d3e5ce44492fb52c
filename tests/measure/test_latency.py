"""The latency protocol, under a clock that is not a clock."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from upbench.errors import InputError
from upbench.measure import latency, rounds
from upbench.measure.cpu_clock import Sample


class FakeClock:
    """Time passes only when a call asks for it."""

    name = "fake"

    def __init__(self) -> None:
        self.now, self.order, self.slow = 0.0, [], list[bool]()

    def now_s(self) -> float:
        return self.now

    def throttled(self) -> bool:
        return self.slow.pop(0) if self.slow else False

    def time_s(self, call: Callable[[], object], calls: int) -> float:
        start = self.now
        for _ in range(calls):
            call()
        self.order.append((getattr(call, "__name__", "?"), calls))
        return self.now - start

    def sample(self, call: Callable[[], object], calls: int) -> Sample:
        return Sample(self.time_s(call, calls))

    def call(self, name: str, *costs: float) -> Callable[[], object]:
        """A call that takes costs[0], costs[1], ... and then the last of them for ever."""
        left = list(costs)

        def work() -> None:
            self.now += left.pop(0) if len(left) > 1 else left[0]

        work.__name__ = name
        return work


@pytest.fixture(autouse=True)
def _whole_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(rounds.WARMUP)


def test_slow_first_calls_are_warm_up_not_samples() -> None:
    clock = FakeClock()
    (timing,) = latency.measure([clock.call("a", 5.0, 0.02, 0.01)], clock, 0.1)
    assert max(timing.samples_s) == pytest.approx(0.01)


def _orders(seed: str) -> list[str]:
    """The rounds of three calls."""
    clock = FakeClock()
    calls = [clock.call("a", 0.01), clock.call("b", 0.02), clock.call("c", 0.03)]
    (timing, *_) = latency.measure(calls, clock, 2.0, precision=-1, seed=seed)
    timed = "".join(name for name, _ in clock.order)[-6 * (len(timing.samples) // 2) :]
    return [timed[n : n + 6] for n in range(0, len(timed), 6)]


def test_a_round_is_a_random_order_and_its_reverse() -> None:
    found = _orders("one")
    assert all(one == one[::-1] and set(one) == set("abc") for one in found)
    assert len(set(found)) == 6
    assert found == _orders("one") != _orders("other")


class CpuMeter(FakeClock):
    """Others have the core for half of the time."""

    def sample(self, call: Callable[[], object], calls: int) -> Sample:
        cpu_s = self.time_s(call, calls)
        waits = "waits" in getattr(call, "__name__", "")
        return Sample(2 * cpu_s, cpu_s, cpu_s, faults=3 * calls, blocked=int(waits), preempted=1 - int(waits))


def test_the_time_of_a_call_is_the_cpu_time_of_its_thread() -> None:
    meter = CpuMeter()
    (timing,) = latency.measure([meter.call("a", 0.01)], meter, 0.5)
    assert (timing.clock, timing.clock_reason) == ("cpu", None)
    assert timing.samples_s[0] == pytest.approx(0.01)
    assert timing.seconds("wall")[0] == pytest.approx(0.02)
    assert timing.faults_per_call == 3


def test_calls_that_are_compared_have_one_clock() -> None:
    meter = CpuMeter()
    works, waits = latency.measure([meter.call("works", 0.01), meter.call("waits", 0.01)], meter, 0.5)
    assert (works.clock, waits.clock) == ("wall", "wall")
    assert waits.clock_reason == "the call waits for something"
    assert "another call" in str(works.clock_reason)
    assert works.samples_s[0] == pytest.approx(0.02)


def test_a_call_alone_is_timed_in_passes_that_wait_for_each_other() -> None:
    clock = FakeClock()
    passes = latency.Passes(clock.call("a", 0.01), clock, 1.0)
    while passes.left:
        passes.take()
        clock.now += 100.0
    timing = passes.timing
    assert timing is not None
    assert len(timing.rounds_of_pass) == latency.PASSES
    assert set(timing.rounds_of_pass) <= {9, 10}
    assert len(timing.samples) == 2 * sum(timing.rounds_of_pass)


@pytest.mark.parametrize(
    ("budget_s", "passes", "samples", "warm"), [(0.1, 3, 3, 1), (59.0, 3, 3, 1), (61.0, 3, 6, 1), (101.0, 5, 10, 1)]
)
def test_the_budget_says_how_often_a_slow_call_alone_is_timed(
    budget_s: float, passes: int, samples: int, warm: int
) -> None:
    """Three passes of one sample are the least, since they have an interval; the warm-up is one call, after the first."""
    clock = FakeClock()
    alone = latency.Passes(clock.call("slow", 10.0), clock, budget_s)
    while alone.left:
        alone.take()
    timing = alone.timing
    assert timing is not None
    assert timing.rounds_of_pass == [1] * passes
    assert (len(timing.samples), timing.warmup_calls) == (samples, warm)
    assert clock.now == 10.0 * (samples + warm)
    assert timing.per_round == samples / passes


def test_ctrl_c_ends_all_passes_and_keeps_what_they_have() -> None:
    clock, calls = FakeClock(), [0]

    def cut() -> None:
        calls[0] += 1
        clock.now += 0.01
        if calls[0] == 40:
            raise KeyboardInterrupt

    passes = latency.Passes(cut, clock, 1.0)
    while passes.left:
        passes.take()
    assert passes.timing is not None
    assert passes.timing.stopped == "interrupted"
    assert sum(passes.timing.rounds_of_pass) == len(passes.timing.samples) // 2 > 10


def test_samples_are_long_enough_for_the_clock() -> None:
    clock = FakeClock()
    (timing,) = latency.measure([clock.call("a", 1e-4)], clock, 0.1)
    assert timing.calls_per_sample * 1e-4 >= latency.SAMPLE_S
    assert timing.samples_s[0] == pytest.approx(1e-4)


def test_stops_at_the_budget_but_not_before_the_least_rounds() -> None:
    clock = FakeClock()
    (slow,) = latency.measure([clock.call("slow", 10.0)], clock, 0.1)
    assert len(slow.samples_s) == rounds.ALONE.least * latency.PER_ROUND
    both = latency.measure([clock.call("slow", 10.0), clock.call("too", 10.0)], clock, 0.1)
    assert [len(t.samples_s) for t in both] == [rounds.SEVERAL.least * latency.PER_ROUND] * 2
    clock = FakeClock()
    (quick,) = latency.measure([clock.call("quick", 0.01)], clock, 1.0, precision=-1)
    assert 0.9 <= sum(quick.samples_s) <= 1.0 + 0.02
    assert (slow.stopped, quick.stopped) == ("budget", "budget")


def test_warm_up_goes_on_until_the_time_is_stable() -> None:
    clock = FakeClock()
    timing = latency.warm_up(clock.call("a", 0.09, 0.08, 0.06, 0.05, 0.04, 0.03, 0.02, 0.02, 0.02, 0.02, 0.02), clock)
    assert timing.warmup_calls == 11
    assert timing.calls_per_sample == 1


def test_the_environment_limits_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(rounds.WARMUP, "0.1")
    times = [0.09 - 0.005 * n for n in range(12)]
    clock = FakeClock()
    assert latency.warm_up(clock.call("a", *times), clock).warmup_calls == 2


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf", ""])
def test_a_warm_up_of_no_number_of_seconds_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(rounds.WARMUP, text)
    with pytest.raises(InputError, match=r"UPBENCH_WARMUP is '.*' but must be the most seconds of a warm-up"):
        rounds.warmup_s()
    clock = FakeClock()
    with pytest.raises(InputError):  # and no call is blamed for it
        latency.measure([clock.call("a", 0.01)], clock, 0.1)
    with pytest.raises(InputError):
        latency.Passes(clock.call("a", 0.01), clock, 0.1)


def test_an_interruption_keeps_the_complete_rounds() -> None:
    clock = FakeClock()
    calls = 0

    def interrupted() -> None:
        nonlocal calls
        calls += 1
        clock.now += 0.01
        if calls == 12:
            raise KeyboardInterrupt

    steady, cut = latency.measure([clock.call("a", 0.01), interrupted], clock, 100.0, precision=-1)
    assert cut.stopped == "interrupted"
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
    latency.measure([clock.call("a", 0.01)], clock, 0.5, parts.append, precision=-1)
    assert parts == sorted(parts)
    assert 0.9 < parts[-1] <= 1.0


def test_stops_as_soon_as_the_interval_is_narrow() -> None:
    clock = FakeClock()
    (timing,) = latency.measure([clock.call("a", 0.01)], clock, 100.0)
    assert timing.stopped == "precise"
    assert len(timing.samples_s) == rounds.ALONE.check_from * latency.PER_ROUND


def test_of_several_calls_the_ratio_must_be_precise_not_the_times() -> None:
    """The machine slows down and up again all the time; the ratio of a round does not notice."""
    clock = FakeClock()
    drift = {"factor": 1.0}

    def first() -> None:
        clock.now += 0.01 * drift["factor"]

    def second() -> None:
        clock.now += 0.02 * drift["factor"]

    def slower() -> bool:
        drift["factor"] = 4.0 if drift["factor"] == 1.0 else 1.0
        return False

    clock.throttled = slower
    timings = latency.measure([first, second], clock, 100.0)
    assert {t.stopped for t in timings} == {"precise"}
    assert max(timings[0].samples_s) == pytest.approx(4 * min(timings[0].samples_s))


def test_stops_when_more_samples_no_longer_help() -> None:
    """Noise of which every sample is as new as the first: the interval stays as wide as it is."""
    clock, taken = FakeClock(), []

    def wild() -> None:
        taken.append(1)
        clock.now += 0.01 * (1 + len(taken) % 2 + len(taken) / 20)

    (timing,) = latency.measure([wild], clock, 1e9)
    assert timing.stopped == "plateau"


def test_throttled_rounds_are_taken_again_and_counted() -> None:
    clock = FakeClock()
    clock.slow = [False, True, False, True]
    (timing,) = latency.measure([clock.call("a", 0.01)], clock, 100.0)
    assert timing.discarded == 2
    assert len(timing.samples_s) == rounds.ALONE.check_from * latency.PER_ROUND


def test_a_device_that_always_throttles_ends_all_the_same() -> None:
    clock = FakeClock()
    clock.slow = [True] * 10_000
    (timing,) = latency.measure([clock.call("a", 0.01)], clock, 0.2)
    assert len(timing.samples_s) >= rounds.ALONE.least * latency.PER_ROUND
    assert timing.discarded > 0
