"""Our medians against those of torch.utils.benchmark, taken in turns. `pytest -n 0 -m slow -s` runs it."""

from __future__ import annotations

import statistics

import pytest
import torch
from torch.utils.benchmark import Timer

from upbench.benchmark.case import Case
from upbench.measure import latency
from upbench.measure.clock import CpuClock
from upbench.measure.cpu_clock import ThreadMeter
from upbench.specs import run_spec as spec

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["bilinear", "carafe", "ldaaqu"])
def test_median_within_three_percent(name: str) -> None:
    plan = spec.load({"upsampler": name, "input": {"shape": "256x64x64"}})
    case = Case(plan, torch.device("cpu"), CpuClock())
    timer = Timer("call()", globals={"call": case.forward}, num_threads=torch.get_num_threads())
    ours, theirs = [], []
    for _ in range(9):
        (timing,) = latency.measure([case.forward], ThreadMeter(), 1.0)
        ours += timing.samples_s
        theirs += timer.blocked_autorange(min_run_time=1.0).times
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(
        f"\n{name}: ours {statistics.median(ours):.5f} s, torch's {statistics.median(theirs):.5f} s, ratio {ratio:.3f}"
    )
    assert ratio == pytest.approx(1, abs=0.03)
