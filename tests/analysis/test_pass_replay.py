"""The whole protocol on recorded-like noise: what is told apart, what is covered, what is seen; and what was not before.

The machine is made up, its figures are those of a busy one: all calls slow down and speed up together for seconds at a
time, jump between two speeds, and are cut by spikes; each build of a cell has a bias of its own. Time is virtual, so
that a sweep takes milliseconds. Blocks, levels, intervals and verdicts are the ones that ship.
"""

from __future__ import annotations

import gc
import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from upbench.analysis import effects, passes, stats
from upbench.analysis.passes import Levels, PassRatio
from upbench.analysis.stats import Verdict
from upbench.measure import blocks
from upbench.measure.cpu_clock import Sample
from upbench.sweeping.schedule import Schedule, Weight

CELLS, PASSES, CALL_S, BUDGET_S = 8, 5, 0.005, 2.0
SHARE = 0.28
"""Of a core, what the process has."""
BUILD_SD, SAMPLE_SD, SPIKE_PART, SPIKE = 0.0045, 0.05, 0.06, 0.25
DRIFTS = ((8.0, 0.10), (0.4, 0.05))
"""(seconds, sd of log time) of slow changes that all calls share."""
SPEEDS, DWELL_S = 0.12, 4.0
STEP_S = 0.02


@dataclass
class Machine:
    """A busy machine in virtual time, which is also the meter of a block."""

    seed: int
    name: str = "replay"
    now: float = 0.0
    drawn: np.random.Generator = field(init=False)
    common: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.drawn = np.random.default_rng(self.seed)
        steps = 20_000
        total = np.zeros(steps)
        for tau_s, sd in DRIFTS:
            keep = math.exp(-STEP_S / tau_s)
            noise = self.drawn.normal(0, sd * math.sqrt(1 - keep**2), steps)
            value = self.drawn.normal(0, sd)
            for n in range(steps):
                value = keep * value + noise[n]
                total[n] += value
        jumps = self.drawn.random(steps) < STEP_S / DWELL_S
        self.common = (total + SPEEDS * (np.cumsum(jumps) % 2)).tolist()

    def build(self, takes_s: float) -> Callable[[], float]:
        """A call that was just built: what it takes on an idle machine, with the bias of this build."""
        biased = takes_s * math.exp(self.drawn.normal(0, BUILD_SD))
        return lambda: biased

    def now_s(self) -> float:
        return self.now

    def sample(self, call: Callable[[], object], calls: int) -> Sample:
        takes_s = call()
        assert isinstance(takes_s, float)
        noise = self.common[int(self.now / STEP_S) % len(self.common)] + SAMPLE_SD * self.drawn.normal()
        if self.drawn.random() < SPIKE_PART:
            noise += SPIKE * abs(self.drawn.normal())
        cpu = calls * takes_s * math.exp(noise)
        self.now += cpu / SHARE
        return Sample(cpu / SHARE, cpu, cpu, 0, 0, 1)

    def throttled(self) -> bool:
        return False


@pytest.fixture(autouse=True)
def _no_collections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block collects garbage once, 0.1 s of real time in a process as large as this one."""
    monkeypatch.setattr(gc, "collect", lambda *_: 0)


def _in_blocks(machine: Machine, takes_s: Sequence[float], seed: int) -> Levels:
    """A sweep as it is measured now. The reference is one more build of the first cell."""
    plan = Schedule({n: Weight(takes) for n, takes in enumerate(takes_s)}, f"sweep {seed}", PASSES)
    values, places = np.full((2, len(takes_s), PASSES), np.nan)
    while block := plan.next_block():
        calls = [machine.build(t) for t in (takes_s[0], *(takes_s[n] for n in block.cells))]
        budget_s = BUDGET_S / PASSES * len(block.cells)
        found = blocks.measure(calls, machine, random.Random(f"{seed}/{block}"), budget_s)
        reference = found[0].seconds("cpu")
        for n, timed in zip(block.cells, found[1:], strict=True):
            values[n, block.pass_number] = passes.level(timed.seconds("cpu"), reference)
            places[n, block.pass_number] = 100 * block.pass_number + block.number
        plan.finished(block)
    return Levels(values, places.astype(np.int64))


def _one_by_one(machine: Machine, takes_s: Sequence[float]) -> list[list[float]]:
    """A sweep as it was measured before: one cell after another, each for its whole budget."""
    found = []
    for takes in takes_s:
        call, start, samples = machine.build(takes), machine.now, list[float]()
        while machine.now - start < BUDGET_S:
            samples.append(machine.sample(call, 1).cpu_s or 0.0)
        found.append(samples)
    return found


def _pairs(levels: Levels, cells: Sequence[tuple[int, int]]) -> list[PassRatio]:
    return [found for a, b in cells if (found := levels.pair(a, b))]


EVERY_PAIR = list(itertools.combinations(range(CELLS), 2))
SLOW_PAIRS = [(a, b) for a in range(4, 8) for b in range(4)]


def test_identical_cells_are_equal_and_their_intervals_hold_one() -> None:
    sweeps = [_in_blocks(Machine(seed), [CALL_S] * CELLS, seed) for seed in range(40)]
    pairs = [pair for levels in sweeps for pair in _pairs(levels, EVERY_PAIR)]
    assert len(pairs) == 40 * 28
    assert sum(pair.told_apart() for pair in pairs) <= 2
    held = sum(pair.low <= 1 <= pair.high for pair in pairs if pair.low and pair.high) / len(pairs)
    assert held >= 0.93
    assert 0.005 < np.median([pair.half_width for pair in pairs if pair.half_width]) < 0.05
    assert max(max(pair.value, 1 / pair.value) for pair in pairs) <= 1.06
    ratios = [ratio for levels in sweeps for n in range(CELLS) if (ratio := levels.ratio(n))]
    assert sum(ratio.low <= 1 <= ratio.high for ratio in ratios if ratio.low and ratio.high) >= 0.93 * len(ratios)
    grid = [levels.effect([(n + 4, n) for n in range(4)]) for levels in sweeps]
    assert not any(effect.told_apart() for effect in grid if effect)


def test_eight_per_cent_are_seen() -> None:
    said = []
    for seed in range(10):
        levels = _in_blocks(Machine(seed + 100), [CALL_S] * 4 + [1.08 * CALL_S] * 4, seed)
        said += [pair.verdict() for pair in _pairs(levels, SLOW_PAIRS)]
    assert said.count(Verdict.SLOWER) >= 0.9 * len(said) == 0.9 * 160
    assert Verdict.SAME not in said
    assert Verdict.FASTER not in said


def test_one_after_another_the_same_noise_makes_differences_of_equals() -> None:
    apart = total = 0
    for seed in range(4):
        samples = _one_by_one(Machine(seed), [CALL_S] * CELLS)
        for a, b in EVERY_PAIR:
            verdict = stats.verdict(effects.unpaired_ratio(samples[a], samples[b]))
            apart += verdict in (Verdict.FASTER, Verdict.SLOWER)
            total += 1
    assert apart >= 0.3 * total


def test_more_cells_than_a_block_holds_are_compared_as_well() -> None:
    takes = [CALL_S] * 6 + [1.08 * CALL_S] * 6
    apart, said = 0, []
    for seed in range(4):
        levels = _in_blocks(Machine(seed + 200), takes, seed)
        equal = [*itertools.combinations(range(6), 2), *itertools.combinations(range(6, 12), 2)]
        apart += sum(pair.told_apart() for pair in _pairs(levels, equal))
        said += [p.verdict() for p in _pairs(levels, [(a, b) for a in range(6, 12) for b in range(6)])]
    assert apart <= 1
    assert said.count(Verdict.SLOWER) >= 0.7 * len(said)
    assert Verdict.SAME not in said


@pytest.mark.parametrize("spikes", [0.0, 0.5])
def test_spikes_in_one_call_do_not_move_it(spikes: float) -> None:
    reference = [1.0] * 40
    drawn = random.Random(0)
    cell = [1 + (20.0 if drawn.random() < spikes * 0.2 else 0.0) for _ in range(40)]
    assert passes.level(cell, reference) == pytest.approx(0)
