"""The estimate of a sweep's time."""

from __future__ import annotations

from typing import Any

import pytest

from upbench.measure import rounds
from upbench.records.record import Latency, Record, RunSpecData
from upbench.sweeping import expand, time_estimate

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


def seconds(call_s: float) -> float:
    """One cell whose calls take this long."""
    sampling = max(BUDGET_S, time_estimate.LEAST_CALLS * call_s)
    return time_estimate.COUNTING_S + time_estimate.COUNTING_CALLS * call_s + rounds.warmup_s() + call_s + sampling


def test_the_constants_are_those_of_the_measurement() -> None:
    """The least that one call alone is timed, under a clock for which every call is too slow."""
    times: list[float] = []
    stopped = rounds.take(rounds.ALONE, 0.0, lambda done: not times.extend([1.0] * rounds.PER_ROUND), lambda: 1.0)
    assert (stopped, len(times)) == ("budget", time_estimate.LEAST_CALLS)


def test_without_records_a_cell_costs_its_fixed_parts() -> None:
    found = time_estimate.estimate(cells(batch=[1, 2]))
    assert found == time_estimate.Estimate(total_s=pytest.approx(2 * seconds(0.0)), cells=2, unknown=2)
    assert "no records" in found.describe()


def test_a_record_of_the_same_spec_is_taken_as_it_is_whatever_its_budget() -> None:
    (cell,) = cells(batch=[1])
    longer = expand.expand(
        expand.load({"name": "a", "base": {"upsampler": "bilinear"}, "grid": {"batch": [1]}}, "a"), "a"
    )
    found = time_estimate.estimate([cell], [record(longer[0], 2.0)])
    assert found == time_estimate.Estimate(total_s=pytest.approx(seconds(2.0)), cells=1, unknown=0)


def test_another_size_is_scaled_by_work_from_the_closest_record() -> None:
    # Bilinear: 4 multiply-accumulates and one value written for each output, so that work is proportional to batch.
    one, two, eight = cells(batch=[1, 2, 8])
    found = time_estimate.estimate([two], [record(one, 1.0), record(eight, 80.0)])
    assert found.total_s == pytest.approx(seconds(2.0))


def test_other_upsamplers_modes_and_failed_cells_say_nothing() -> None:
    wanted, training = cells(mode=["inference", "training"])
    (other,) = cells(upsampler=["bicubic"])
    known = [record(training, 9.0), record(other, 9.0), record(wanted, 9.0, status="timeout")]
    assert time_estimate.estimate([wanted], known) == time_estimate.Estimate(pytest.approx(seconds(0.0)), 1, 1)


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
