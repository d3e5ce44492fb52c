"""Times of runtimes side by side."""

from __future__ import annotations

import time

import pytest

from upbench.deploy import latency


def busy(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_waiting_counts_on_the_wall_alone() -> None:
    """Several threads share the work of a call, so that only the wall says how long it takes."""
    calls = {"waits": lambda: time.sleep(0.02), "works": lambda: busy(0.004)}
    for threads, waits_longer in ((1, False), (2, True)):
        found = latency.rounds(calls, 0.05, latency.clock_of(threads))
        assert {len(seconds) for seconds in found.values()} <= {*range(latency.FEWEST, latency.MOST + 1)}
        assert (min(found["waits"]) > 0.015) == waits_longer
        assert min(found["works"]) > 0.003


@pytest.mark.parametrize("threads", [1, 2])
def test_before_a_sample_of_several_threads_there_is_a_pause(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the runtime before it still run, and would take its cores."""
    paused: list[float] = []
    monkeypatch.setattr(time, "sleep", paused.append)
    found = latency.rounds({"a": lambda: busy(1e-4)}, 0.01, latency.clock_of(threads))
    assert paused == ([] if threads == 1 else [latency.REST_S] * len(found["a"]))
