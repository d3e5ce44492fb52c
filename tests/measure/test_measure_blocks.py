"""Blocks of calls in random rounds, on a clock that the test winds."""

from __future__ import annotations

import gc
import random
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from upbench.measure import blocks, cpu_clock
from upbench.measure.blocks import BlockError
from upbench.measure.clock import Prepared
from upbench.measure.cpu_clock import ClockMeter, Sample, ThreadMeter


class FakeMeter:
    """A thread that has half of a core. A call takes what `takes` says, in CPU seconds."""

    name = "fake"

    def __init__(self, takes: list[float]) -> None:
        self.takes, self.now, self.log = takes, 0.0, list[int]()
        self.hot = 0
        self.last = 0

    def call(self, n: int) -> Callable[[], None]:
        def run() -> None:
            self.last = n
            self.log.append(n)
            self.now += 2 * self.takes[n]

        return run

    def now_s(self) -> float:
        return self.now

    def sample(self, call: Callable[[], object], calls: int) -> Sample:
        start = self.now
        for _ in range(calls):
            call()
        wall = self.now - start
        return Sample(wall, wall / 2, wall / 2, faults=7 * calls, blocked=0, preempted=1)

    def throttled(self) -> bool:
        self.hot -= 1
        return self.hot >= 0


def _measure(meter: FakeMeter, budget_s: float, seed: int = 0) -> list[blocks.Timed]:
    calls = [meter.call(n) for n in range(len(meter.takes))]
    return blocks.measure(calls, meter, random.Random(seed), budget_s)


def test_every_round_is_a_random_order_and_its_reverse() -> None:
    meter = FakeMeter([0.01] * 4)
    found = _measure(meter, 4.0)
    rounds = [meter.log[start : start + 8] for start in range(3 * 4, len(meter.log), 8)]
    assert len(rounds) in (24, 25), "eight calls of 20 ms fill 4 s 25 times"
    assert all(one[:4] == one[:3:-1] and sorted(one[:4]) == [0, 1, 2, 3] for one in rounds)
    assert len({tuple(one) for one in rounds}) > 10
    assert [len(timed.samples) for timed in found] == [2 * len(rounds)] * 4
    again = FakeMeter([0.01] * 4)
    _measure(again, 4.0)
    assert again.log == meter.log, "the order is seeded"


def test_cpu_and_wall_time_a_call_and_page_faults() -> None:
    found = _measure(FakeMeter([0.01, 0.0003]), 1.0)
    assert [timed.calls for timed in found] == [1, 4]
    assert found[1].seconds("cpu") == pytest.approx([0.0003] * len(found[1].samples))
    assert found[1].seconds("wall") == pytest.approx([0.0006] * len(found[1].samples))
    assert found[1].faults_per_call == 7


@pytest.mark.parametrize(("takes", "rounds", "warm"), [(0.2, 5, 3), (0.6, 3, 1)])
def test_slow_calls_get_few_rounds_and_one_warm_up(takes: float, rounds: int, warm: int) -> None:
    meter = FakeMeter([takes] * 2)
    found = _measure(meter, 0.0)
    assert len(found[0].samples) == 2 * rounds
    assert len(meter.log) == 2 * warm + 4 * rounds


def test_a_call_that_raises_leaves_and_the_others_go_on() -> None:
    meter = FakeMeter([0.01] * 3)
    calls = [meter.call(n) for n in range(3)]
    good, count = calls[1], 0

    def fails() -> None:
        nonlocal count
        count += 1
        if count > 9:
            raise MemoryError("no more")
        good()

    calls[1] = fails
    found = blocks.measure(calls, meter, random.Random(0), 2.0)
    assert isinstance(found[1].error, MemoryError)
    assert found[1].error.__traceback__ is None
    assert found[1].samples == []
    assert len(found[0].samples) == len(found[2].samples) > 20
    calls[1] = lambda: 1 / 0
    assert isinstance(blocks.measure(calls, meter, random.Random(0), 0.1)[1].error, ZeroDivisionError)


def test_without_its_reference_a_block_is_nothing() -> None:
    with pytest.raises(BlockError) as raised:
        blocks.measure([lambda: 1 / 0, lambda: None], FakeMeter([]), random.Random(0), 1.0)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_the_next_call_is_announced_before_it_is_made() -> None:
    meter = FakeMeter([0.01] * 3)
    said: list[int] = []
    calls = [meter.call(n) for n in range(3)]
    seen: list[tuple[int, int]] = []
    wrapped = [lambda c=c: (c(), seen.append((said[-1], meter.last))) for c in calls]
    blocks.measure(wrapped, meter, random.Random(1), 0.5, said.append)
    assert seen
    assert all(announced == called for announced, called in seen)


def test_throttled_rounds_are_taken_again() -> None:
    meter = FakeMeter([0.01] * 2)
    meter.hot = 1
    found = _measure(meter, 0.0)
    assert len(found[0].samples) == 10
    assert len(meter.log) == 6 + 4 * 6


def test_ctrl_c_ends_the_rounds_and_loses_none() -> None:
    meter = FakeMeter([0.01] * 2)
    calls = [meter.call(n) for n in range(2)]

    def interrupted() -> None:
        calls[1]()
        if len(meter.log) > 30:
            raise KeyboardInterrupt

    found = blocks.measure([calls[0], interrupted], meter, random.Random(0), 10.0)
    assert len(found[0].samples) == len(found[1].samples) > 0
    assert len(found[0].samples) % 2 == 0
    with pytest.raises(KeyboardInterrupt):
        blocks.measure([calls[0], interrupted], meter, random.Random(0), 10.0)


def test_progress_reaches_the_end_and_never_falls() -> None:
    meter, parts = FakeMeter([0.01] * 2), list[float]()
    blocks.measure([meter.call(0), meter.call(1)], meter, random.Random(0), 1.0, progress=parts.append)
    assert parts == sorted(parts)
    assert 0.8 < parts[-1] <= 1


def test_what_is_enough_ends_the_rounds() -> None:
    meter, looks = FakeMeter([0.001] * 2), list[int]()

    def enough(found: Sequence[blocks.Timed]) -> bool:
        looks.append(len(found[1].samples) // 2)
        return len(looks) == 3

    found = blocks.measure([meter.call(0), meter.call(1)], meter, random.Random(0), 10.0, enough=enough)
    assert looks == [20, 30, 45]
    assert len(found[0].samples) == 90


def test_the_garbage_collector_is_off_during_the_rounds_only() -> None:
    states: list[bool] = []
    call = lambda: states.append(gc.isenabled())  # noqa: E731
    blocks.measure([call, call], ThreadMeter(), random.Random(0), 0.0)
    assert not any(states)
    assert gc.isenabled()


def _sample(cpu: float = 1.0, wall: float = 1.0, **changes: float) -> Sample:
    given = {"process_s": cpu, "blocked": 0, "preempted": 0, "faults": 0, **changes}
    return Sample(wall, cpu, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("samples", "clock", "why"),
    [
        ([_sample(wall=1.01)] * 5, "cpu", None),
        ([_sample(wall=5.0, preempted=3)] * 5, "cpu", None),
        ([_sample(wall=1.2)] * 5, "wall", "1.20 times CPU time"),
        ([_sample(wall=3.0, blocked=2)] * 5, "wall", "waits"),
        ([_sample(wall=3.0, blocked=1)] * 2 + [_sample()] * 5, "cpu", None),
        ([_sample(process_s=1.5)] * 5, "wall", "other threads"),
        ([Sample(1.0)] * 5, "wall", "no CPU time"),
        ([_sample(blocked=None)] * 5, "wall", "does not say"),  # type: ignore[arg-type]
        ([], "wall", "no CPU time"),
    ],
)
def test_cpu_time_is_the_latency_only_of_a_call_that_works_alone(
    samples: list[Sample], clock: str, why: str | None
) -> None:
    found, reason = cpu_clock.latency_clock(samples)
    assert found == clock
    assert (reason is None) if why is None else (why in (reason or ""))


def test_the_real_clock_sees_work_waiting_and_helpers() -> None:
    meter = ThreadMeter()

    def work() -> int:
        return sum(range(60_000))

    def helped() -> None:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    worked = [meter.sample(work, 3) for _ in range(8)]
    assert cpu_clock.latency_clock(worked) == ("cpu", None)
    slept = [meter.sample(lambda: time.sleep(0.002), 1) for _ in range(5)]
    assert cpu_clock.latency_clock(slept)[0] == "wall"
    assert sum(s.cpu_s or 0 for s in slept) < 0.5 * sum(s.wall_s for s in slept)
    assert cpu_clock.latency_clock([meter.sample(helped, 3) for _ in range(5)])[0] == "wall"
    share = cpu_clock.cpu_share(slept)
    assert share is not None
    assert share < 0.5
    assert cpu_clock.cpu_share([Sample(1.0)]) is None


def test_what_prepares_a_call_is_not_timed() -> None:
    seen: list[str] = []

    def before() -> None:
        seen.append("before")
        sum(range(2_000_000))

    prepared = Prepared(lambda: seen.append("call"), before, lambda: seen.append("after"))
    sample = ThreadMeter().sample(prepared, 2)
    assert seen == ["before", "call", "after"] * 2
    assert sample.cpu_s is not None
    assert sample.cpu_s < 0.005
    assert sample.blocked is not None


def test_new_pages_are_counted() -> None:
    sample = ThreadMeter().sample(lambda: bytearray(64 * 2**20), 1)
    assert sample.faults is not None
    assert sample.faults > 20  # huge pages take 2 MiB each


def test_a_device_clock_gives_wall_time_alone() -> None:
    class Events:
        name = "events"

        def now_s(self) -> float:
            return 3.0

        def time_s(self, call: Callable[[], object], calls: int) -> float:
            return 0.5 * calls

        def throttled(self) -> bool:
            return True

    meter = ClockMeter(Events())
    assert meter.sample(lambda: None, 4) == Sample(2.0)
    assert (meter.name, meter.now_s(), meter.throttled()) == ("events", 3.0, True)
