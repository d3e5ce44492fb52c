"""Ceilings and resolution: under clocks that are none, on the real CPU as far as it can be told, and in the cache."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.measure.test_latency import FakeClock
from upbench.errors import OutputError
from upbench.machine import calibration, ceilings, environment
from upbench.machine.calibration import Calibration
from upbench.measure import clock as clocks

CPU = torch.device("cpu")


def example(**changes: Any) -> Calibration:
    return replace(
        Calibration(
            key="a machine",
            device="a CPU",
            threads=2,
            bandwidths=((2**20, 100e9), (2**30, 20e9)),
            macs_per_s={"float32": 1e11, "bfloat16": 4e11},
            noise_floor=0.01,
            disturbed_cores=0.5,
            date="2026-01-01",
            versions={"torch": "2.6", "upbench": "0.1.0"},
        ),
        **changes,
    )


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(calibration.VARIABLE, str(tmp_path))
    return tmp_path / "calibration.json"


class SteadyClock(FakeClock):
    """Every call takes the same time, whatever it does."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def time_s(self, call: Callable[[], object], calls: int) -> float:
        call()
        self.now += self.seconds * calls
        return self.seconds * calls


def test_what_was_saved_is_loaded(cache: Path) -> None:
    assert calibration.load("a machine") is None
    calibration.save(example())
    calibration.save(example(key="another", noise_floor=0.5))
    calibration.save(example(noise_floor=0.02))
    assert calibration.load("a machine") == example(noise_floor=0.02)
    assert calibration.load("another") == example(key="another", noise_floor=0.5)
    assert calibration.load("a third") is None
    assert [file.name for file in cache.parent.iterdir()] == [cache.name]


def test_a_calibration_of_an_earlier_version_is_read(cache: Path) -> None:
    """Which called the noise floor `resolution`; saving another machine keeps it."""
    old = {("resolution" if name == "noise_floor" else name): value for name, value in example().to_dict().items()}
    cache.write_text(json.dumps({"schema": calibration.SCHEMA, "machines": {"a machine": old}}))
    assert calibration.load("a machine") == example()
    calibration.save(example(key="another"))
    assert calibration.load("a machine") == example()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"schema": 1, "machines": {}}',
        b'{"schema": 2}',
        b'{"schema": 2, "machines": {"a machine": 3}}',
        b'{"schema": 2, "machines": {"a machine": {"key": "a machine"}}}',
    ],
)
def test_a_damaged_cache_counts_as_empty_and_is_replaced(cache: Path, content: bytes) -> None:
    cache.write_bytes(content)
    assert calibration.load("a machine") is None
    calibration.save(example())
    assert calibration.load("a machine") == example()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("noise_floor", -0.1),
        ("noise_floor", math.nan),
        ("bandwidths", []),
        ("bandwidths", [[1, 0.0]]),
        ("bandwidths", [[1, math.inf]]),
        ("macs_per_s", {"float32": -1}),
        ("key", "another"),
    ],
)
def test_a_calibration_with_an_impossible_value_is_none(cache: Path, field: str, value: object) -> None:
    machines = {"a machine": {**example().to_dict(), field: value}}
    cache.write_text(json.dumps({"schema": calibration.SCHEMA, "machines": machines}))
    assert calibration.load("a machine") is None


def test_a_cache_that_cannot_be_written_is_said_in_a_sentence(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write_text("kept")
    monkeypatch.setenv(calibration.VARIABLE, str(cache / "below"))
    for attempt in (calibration.check, lambda: calibration.save(example())):
        with pytest.raises(OutputError, match="set UPBENCH_CACHE"):
            attempt()
    assert calibration.load("a machine") is None
    assert cache.read_text() == "kept"


def test_the_cache_is_where_the_system_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(calibration.VARIABLE, raising=False)
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert calibration.path() == Path("/home/someone/.cache/upbench/calibration.json")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert calibration.path() == Path("/caches/upbench/calibration.json")


def test_a_machine_is_known_by_device_cores_threads_and_torch() -> None:
    here = environment.machine_key(CPU)
    assert here == environment.machine_key(CPU) == calibration.key(environment.capture(CPU))
    with environment.with_threads(torch.get_num_threads() + 1):
        assert environment.machine_key(CPU) != here
    assert torch.__version__ in here


def test_bandwidth_never_rises_with_the_working_set() -> None:
    machine = example(bandwidths=((100, 5.0), (200, 9.0), (400, 7.0), (800, 2.0)))
    assert [machine.bandwidth_at(n) for n in (1, 100, 199, 200, 400, 799, 800, 9999)] == [9, 9, 9, 9, 7, 7, 2, 2]
    assert machine.bandwidth_bytes_per_s == 2


def test_autocast_has_the_ceiling_of_its_faster_dtype() -> None:
    assert example().rate("autocast-bfloat16") == 4e11
    assert example().rate("autocast-float16") == 1e11
    assert example().rate("float16") is None
    assert replace(example(), macs_per_s={"float32": 1e11, "float16": 1e9}).rate("float16") == 1e11
    assert example().rate("float64") is None


def test_working_sets_end_beyond_the_caches() -> None:
    mib = 2**20
    assert ceilings.working_sets(16 * mib, 2**34) == [mib, 4 * mib, 16 * mib, 64 * mib, 256 * mib]
    assert ceilings.working_sets(32 * mib, 2**34)[-1] == ceilings.CACHES * 32 * mib * 2
    assert ceilings.working_sets(500 * mib, 2**40)[-1] == ceilings.LARGEST_BYTES
    assert ceilings.working_sets(32 * mib, 2**28)[-1] == 2**25
    assert ceilings.working_sets(None, None)[-1] == 256 * mib


def test_bandwidth_counts_every_byte_once() -> None:
    assert ceilings.bandwidth_bytes_per_s(SteadyClock(0.25), CPU, 4 * 96 * 10, 1.0) == 4 * 96 * 10 / 0.25


def test_arithmetic_is_the_best_of_the_sizes_that_fit() -> None:
    convolution = 9 * 28 * 28 * 128**2
    assert ceilings.macs_per_s(SteadyClock(0.5), CPU, torch.float32, 0.1) == convolution / 0.5
    assert ceilings.macs_per_s(SteadyClock(1e-3), CPU, torch.float32, 1.0, largest=512) == 4 * convolution / 1e-3


@pytest.mark.parametrize(
    ("product_s", "convolution_s", "macs"), [(1e-3, 1.0, 256**3), (1.0, 1e-3, 9 * 28 * 28 * 128**2)]
)
def test_arithmetic_is_that_of_the_faster_of_product_and_convolution(
    product_s: float, convolution_s: float, macs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ceilings, "_best_s", lambda _, call, *__: product_s if call.func is torch.mm else convolution_s)
    assert ceilings.macs_per_s(SteadyClock(1e-3), CPU, torch.float32, 1.0, largest=256) == macs / 1e-3


def test_a_dtype_that_cannot_be_multiplied_has_no_rate() -> None:
    assert ceilings.macs_per_s(SteadyClock(1e-3), CPU, torch.bool, 1.0, largest=256) is None


@pytest.mark.parametrize("dtype", ceilings.DTYPES)
def test_ceilings_of_this_cpu_are_positive_numbers(dtype: str) -> None:
    clock = clocks.clock_for(CPU)
    for found in (
        ceilings.bandwidth_bytes_per_s(clock, CPU, 2**16, 0.003),
        ceilings.macs_per_s(clock, CPU, getattr(torch, dtype), 0.01, largest=256),
    ):
        assert found is not None
        assert 0 < found < math.inf


def test_ceilings_of_one_thread_do_not_count_what_others_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine took half of the thread's time: its rate by wall time would be half of what it is."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    clock = clocks.alone_clock_for(CPU)
    assert clock.time_s(lambda: time.sleep(0.02), 1) < 0.01
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert clocks.alone_clock_for(CPU).time_s(lambda: time.sleep(0.02), 1) >= 0.02


def test_what_others_use_of_the_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """User, system, interrupts and what a neighbour stole; neither idling nor waiting, and not our own 3 s."""
    stat, ticks = tmp_path / "stat", os.sysconf("SC_CLK_TCK")
    monkeypatch.setattr(ceilings.time, "process_time", lambda: 3.0)
    assert ceilings.other_processes_s(stat) is None
    stat.write_text(f"cpu  {4 * ticks} 0 {ticks} 777 888 0 {ticks} {5 * ticks} 0 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n")
    assert ceilings.other_processes_s(stat) == 8.0
    stat.write_text("torn")
    assert ceilings.other_processes_s(stat) is None


def builder(clock: FakeClock, *costs: float) -> Callable[[], Callable[[], object]]:
    """Builds a call of the first cost, then one of the second, and so on; the last for ever."""
    left = list(costs)
    return lambda: clock.call("a", left.pop(0) if len(left) > 1 else left[0])


def test_equals_have_the_resolution_zero() -> None:
    clock = FakeClock()
    assert ceilings.noise_floor(clock, builder(clock, 0.01), repeats=3) == pytest.approx(0)


def test_the_resolution_is_the_furthest_that_equals_came_apart() -> None:
    clock = FakeClock()
    found = ceilings.noise_floor(clock, builder(clock, 0.01, 0.01, 0.01, 0.012, 0.01), repeats=4)
    assert found == pytest.approx(0.2)


def test_one_disturbed_run_of_many_does_not_set_the_resolution() -> None:
    clock = FakeClock()
    costs = [0.01, 0.01, 0.01, 0.012, 0.01, 0.05, 0.01]
    assert ceilings.noise_floor(clock, builder(clock, *costs), budget_s=100.0, repeats=11) == pytest.approx(0.2)
    clock = FakeClock()
    assert ceilings.noise_floor(clock, builder(clock, *costs), budget_s=100.0, repeats=10) == pytest.approx(4.0)


def test_what_is_slower_when_built_first_counts_as_well() -> None:
    clock = FakeClock()
    assert ceilings.noise_floor(clock, builder(clock, 0.02, 0.01, 0.01), repeats=3) >= 0.5


@pytest.mark.parametrize(("cost", "runs"), [(100.0, ceilings.MIN_REPEATS), (0.001, 5)])
def test_runs_end_with_the_budget_but_not_before_the_third(cost: float, runs: int) -> None:
    clock, built = FakeClock(), []

    def build() -> Callable[[], object]:
        built.append(clock.call("a", cost))
        return built[-1]

    ceilings.noise_floor(clock, build, budget_s=10.0, repeats=5)
    assert len(built) == 2 * runs


def test_ctrl_c_ends_the_runs() -> None:
    clock, calls = FakeClock(), 0

    def work() -> None:
        nonlocal calls
        calls += 1
        clock.now += 0.01
        if calls == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ceilings.noise_floor(clock, lambda: work)
    assert calls == 30


def test_the_call_of_the_runs_is_the_same_each_time() -> None:
    torch.testing.assert_close(ceilings.probe_upsampler(CPU)(), ceilings.probe_upsampler(CPU)(), rtol=0, atol=0)
