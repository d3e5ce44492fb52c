"""What a noisy machine may not do to a verdict. Minutes long: `pytest -n 0 -m slow -s` runs it and prints what it found.

Two processes spin beside the measurement, one for each core of a small machine.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import torch

import upbench
from upbench.analysis import rounds
from upbench.measure import latency
from upbench.measure.clock import CpuClock
from upbench.measure.cpu_clock import ThreadMeter

pytestmark = pytest.mark.slow
COMPARISONS = 40
BUDGET_S = 1.0


def _spin() -> None:
    while True:
        pass


@pytest.fixture(scope="module")
def units() -> int:
    """How many units of work are 8 % of a call, found out while the machine is quiet."""
    call = _dysample()
    # In place, between calls: by itself, in warm caches, a unit would be cheaper.
    plain_s, loaded_s = _quickest_s(call), _quickest_s(_slower(call, 50))
    return round(0.08 * plain_s / (loaded_s - plain_s) * 50)


@pytest.fixture(scope="module", autouse=True)
def neighbours(units: int) -> Iterator[None]:
    """Two busy processes."""
    spinning = [multiprocessing.get_context("spawn").Process(target=_spin, daemon=True) for _ in range(2)]
    for process in spinning:
        process.start()
    yield
    for process in spinning:
        process.kill()


def _dysample() -> Callable[[], object]:
    module, x = upbench.build("dysample", 64, seed=0).eval(), torch.randn(1, 64, 32, 32)

    def call() -> object:
        with torch.inference_mode():
            return module(x)

    return call


def _slower(call: Callable[[], object], units: int) -> Callable[[], object]:
    """The call with units of work on top, the same in every call."""
    scratch = torch.ones(4096)

    def slowed() -> object:
        for _ in range(units):
            scratch.add_(1e-9)
        return call()

    return slowed


def _quickest_s(call: Callable[[], object]) -> float:
    clock = CpuClock()
    return min(clock.time_s(call, 1) for _ in range(3000))


def _verdicts(second: Callable[[Callable[[], object]], Callable[[], object]]) -> tuple[Counter[str], list[float]]:
    found: Counter[str] = Counter()
    values = []
    for _ in range(COMPARISONS):
        first, other = latency.measure([_dysample(), second(_dysample())], ThreadMeter(), BUDGET_S, precision=0.0)
        ratio = rounds.paired(other.samples_s, first.samples_s)
        values.append(ratio.value)
        found[rounds.judged(ratio)] += 1
    return found, values


def test_an_upsampler_is_never_faster_or_slower_than_itself() -> None:
    found, values = _verdicts(lambda call: call)
    print(f"\nA/A: {dict(found)}, ratios {min(values):.3f} to {max(values):.3f}")
    assert found["FASTER"] + found["SLOWER"] == 0


def test_a_true_slowdown_of_eight_percent_is_seen(units: int) -> None:
    found, values = _verdicts(lambda call: _slower(call, units))
    print(f"\n+8 %: {dict(found)}, ratios {min(values):.3f} to {max(values):.3f}")
    assert found["SLOWER"] >= 36
