"""The estimate of a sweep's time."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from tests.measure.test_latency import FakeClock
from upbench.analysis import conclusions
from upbench.measure import blocks
from upbench.records.record import Latency, Record, RunSpecData
from upbench.sweeping import expand, time_estimate
from upbench.sweeping.timing import OVERHEAD

BUDGET_S = 3.0


def cells(**axes: list[Any]) -> list[expand.Cell]:
    base = {"upsampler": "bilinear"} if "upsampler" not in axes else {}
    data = {"name": "a", "base": base, "grid": axes, "measure": {"budget": BUDGET_S}}
    return expand.expand(expand.load(data, "a.yaml"), "a.yaml")


def record(cell: expand.Cell, latency_s: float, status: str = "ok") -> Record:
    assert cell.spec
    timing = Latency(
        mode="inference",
        clock="perf_counter",
        first_call_s=latency_s,
        warmup_calls=2,
        stable=True,
        calls_per_sample=1,
        samples_per_round=2,
        stopped="budget",
        discarded_rounds=0,
        samples_s=[latency_s / 2, latency_s, latency_s * 5],
    )
    return Record(
        label="x", spec=cell.spec.to_dict(), status=status, started="2026-01-01T00:00:00Z", environment={}, latency=timing
    )  # fmt: skip


def seconds(*calls_s: float) -> float:
    """Cells whose calls take this long, the first of them the reference: five passes and the middle of those that fit."""
    counting = sum(time_estimate.COUNTING_S + time_estimate.COUNTING_CALLS * call_s for call_s in calls_s)
    block = [calls_s[0], calls_s[0], *calls_s[1:]]  # the twin is a cell, too
    sampling = max(BUDGET_S / conclusions.MOST_PASSES * len(calls_s), 2 * blocks.MIN_ROUNDS * sum(block))
    pass_s = time_estimate.BUILD_S * len(block) + (1 + blocks.WARMUP_CALLS) * sum(block) + sampling
    fit = int(OVERHEAD * BUDGET_S * len(calls_s) / pass_s)
    most = min(max(conclusions.PASSES, fit), conclusions.MOST_PASSES)
    return time_estimate.START_S + counting + pass_s * math.sqrt(conclusions.PASSES * most)


def least(one: expand.Cell) -> float:
    """The call of a cell of which no record says anything."""
    assert one.spec
    return time_estimate._least_call_s(one.spec)


def test_a_pass_is_the_block_that_a_sweep_times() -> None:
    """The estimate of a block against the calls that one makes, by a clock that only calls move."""
    clock = FakeClock()
    calls = [clock.call("reference", 0.2), clock.call("a", 0.3)]
    blocks.measure(calls, clock, random.Random(0), 0.1)
    first_calls, built = 0.2 + 0.3, 2 * time_estimate.BUILD_S
    assert time_estimate._block_s([0.2, 0.3], 0.1) == pytest.approx(clock.now + first_calls + built)


def test_without_records_calls_are_those_of_a_fast_processor_and_the_estimate_is_a_lower_bound() -> None:
    both = cells(batch=[1, 2])
    found = time_estimate.estimate(both)
    assert found == time_estimate.Estimate(total_s=pytest.approx(seconds(*map(least, both))), cells=2, unknown=2)
    assert found.about == "at least"
    assert "no records" in found.describe()
    assert 0 < least(both[0]) < least(both[1]) < 0.1
    elsewhere = time_estimate.estimate(both, on_cpu=())
    assert elsewhere.total_s == pytest.approx(seconds(0.0, 0.0))


def test_what_other_programs_compute_is_shared_with() -> None:
    assert time_estimate.busy_factor(0.0, 1, 2) == 1
    assert time_estimate.busy_factor(5.0, 1, 2) == 3
    assert time_estimate.busy_factor(2.0, 2, 2) == 2


def test_devices_share_all_but_the_start() -> None:
    both = cells(batch=[1, 2])
    one, two = (time_estimate.estimate(both, devices=n).total_s - time_estimate.START_S for n in (1, 2))
    assert two == pytest.approx(one / 2)


def test_a_record_of_the_same_spec_is_taken_as_it_is_whatever_its_budget() -> None:
    (cell,) = cells(batch=[1])
    longer = expand.expand(
        expand.load({"name": "a", "base": {"upsampler": "bilinear"}, "grid": {"batch": [1]}}, "a"), "a"
    )
    found = time_estimate.estimate([cell], [record(longer[0], 0.1)])
    assert found == time_estimate.Estimate(total_s=pytest.approx(seconds(0.1)), cells=1, unknown=0)
    assert found.about == "about"


def test_another_size_is_scaled_by_work_from_the_closest_record() -> None:
    # Bilinear: 4 multiply-accumulates and one value written for each output, so that work is proportional to batch.
    one, two, eight = cells(batch=[1, 2, 8])
    found = time_estimate.estimate([two], [record(one, 0.1), record(eight, 8.0)])
    assert found.total_s == pytest.approx(seconds(0.2))


def test_other_upsamplers_modes_and_failed_cells_say_nothing() -> None:
    wanted, training = cells(mode=["inference", "training"])
    (other,) = cells(upsampler=["bicubic"])
    known = [record(training, 9.0), record(other, 9.0), record(wanted, 9.0, status="timeout")]
    assert time_estimate.estimate([wanted], known) == time_estimate.Estimate(
        pytest.approx(seconds(least(wanted))), 1, 1
    )


def test_impossible_cells_and_repetitions_cost_nothing() -> None:
    possible = cells(upsampler=["dysample"], groups=[4])
    found = time_estimate.estimate(cells(upsampler=["dysample"], groups=[4, 5], shape=["paper", "256x120x120"]))
    assert found == time_estimate.estimate(possible)
    assert found.cells == 1


def test_records_that_cannot_be_read_any_more_say_nothing() -> None:
    (cell,) = cells(batch=[1])
    old = record(cell, 9.0).model_copy(update={"spec": RunSpecData(upsampler="gone")})
    assert time_estimate.estimate([cell], [old]).unknown == 1


@pytest.mark.parametrize(
    ("known", "text"), [([], "there are no records"), ([0], "1 of 2 cells"), ([0, 1], "as long as")]
)
def test_the_estimate_says_what_it_rests_on(known: list[int], text: str) -> None:
    both = cells(upsampler=["bilinear", "bicubic"])
    found = time_estimate.estimate(both, [record(both[n], 0.1) for n in known])
    assert text in found.describe()
    assert time_estimate.estimate([]).describe() == "Nothing is left to measure."
