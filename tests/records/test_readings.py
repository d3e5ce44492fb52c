"""The latency of a record as a few numbers: over the passes of a run, and over samples."""

from __future__ import annotations

import math

import pytest

from tests import record_builder
from upbench.records.readings import latency_summary
from upbench.records.record import Record
from upbench.report.tables import comparison, notes


def profiled(*levels_s: float, allocator: str = "kept", reason: str | None = None) -> Record:
    """A record of an upsampler that was measured by itself, ten rounds at each level."""
    samples = [level for level in levels_s for _ in range(20)]
    made = record_builder.record(latency_s=samples, sweep=False)
    assert made.latency is not None
    update = {"rounds_of_pass": [10] * len(levels_s), "allocator": allocator, "clock_reason": reason}
    return made.model_copy(update={"latency": made.latency.model_copy(update=update)})


def test_the_interval_of_a_profile_is_over_its_passes() -> None:
    found = latency_summary(profiled(0.010, 0.011, 0.010, 0.011, 0.010))
    assert found is not None
    assert found.n == 100
    mean = math.exp((3 * math.log(0.010) + 2 * math.log(0.011)) / 5)
    assert found.median == pytest.approx(mean)
    half = 2.7764 * math.log(1.1) * math.sqrt(0.3) / math.sqrt(5)
    assert (found.low, found.high) == pytest.approx((mean * math.exp(-half), mean * math.exp(half)), rel=1e-4)


def test_two_passes_have_no_interval_of_their_own() -> None:
    found = latency_summary(profiled(0.010, 0.020))
    assert found is not None
    assert found.low == pytest.approx(0.010)
    assert found.high == pytest.approx(0.020)


def test_a_profile_says_that_its_interval_is_of_this_run() -> None:
    rows = dict(tuple(row) for row in comparison.profile_table(profiled(0.010, 0.011, 0.010)).rows)
    assert "  95 % interval, within this run" in rows
    plain = record_builder.record(sweep=False)
    assert "  95 % interval of the median" in dict(tuple(row) for row in comparison.profile_table(plain).rows)
    assert "within the run" in notes.samples([profiled(0.010, 0.011, 0.010)])[0]


def test_wall_time_and_unpinned_memory_are_said_under_a_table() -> None:
    assert notes.timing([profiled(0.01)]) == []
    by_wall, unpinned = notes.timing([profiled(0.01, allocator="unpinned", reason="the call waits for something")])
    assert by_wall == "Timed by wall time, in which the load of the machine is: the call waits for something."
    assert unpinned.startswith("Memory unpinned: ")
