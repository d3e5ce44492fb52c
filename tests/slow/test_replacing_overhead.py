"""What replacing costs by itself: SegFormer-B1 with every call answered by its own call, against the plain model.

pytest -n 0 -m slow -s tests/slow/test_replacing_overhead.py

Both run in one process whose malloc is pinned, in interleaved rounds, by the processor time of one thread. A call costs
microseconds, of a model that takes a tenth of a second: they are seen in a module that does little else.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor, nn

from tests.models import torchvision_operators
from upbench.machine import allocator
from upbench.models import example_inputs, factory, repeating, replacing

pytestmark = pytest.mark.slow
ROUNDS, FEW = 60, 400
CALLS = 20
"""Calls of torch in a forward of a module that does little else."""
MOST_US = 50.0
"""Microseconds of a call that no machine should take; a mode of torch functions takes 3 here, a name 1."""


class ByName(nn.Module):
    """Calls by a global name, which a copy of the function answers."""

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(CALLS):
            out = nn.functional.interpolate(x, scale_factor=2.0)
        return out


class ByMode(nn.Module):
    """Calls by a local name, which a mode answers."""

    def forward(self, x: Tensor) -> Tensor:
        enlarge = nn.functional.interpolate
        for _ in range(CALLS):
            out = enlarge(x, scale_factor=2.0)
        return out


class Others(nn.Module):
    """Calls that are nobody's, under the mode of the one that is answered."""

    def forward(self, x: Tensor) -> Tensor:
        enlarge = nn.functional.interpolate
        for _ in range(CALLS):
            x = x.add(1)
        return enlarge(x, scale_factor=2.0)


def in_rounds(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of one call by name, of each round: every call once in random order, then once in the reverse."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    with torch.inference_mode():
        for call in calls.values():
            call()
        for _ in range(rounds):
            order = random.sample([*calls], len(calls))
            spent = dict.fromkeys(calls, 0.0)
            for name in (*order, *reversed(order)):
                start = time.thread_time()
                calls[name]()
                spent[name] += time.thread_time() - start
            for name, value in spent.items():
                seconds[name].append(value / 2)
    return seconds


def repeated(plain: nn.Module, args: Any, kwargs: Any) -> tuple[nn.Module, int]:
    """The model with its calls answered by themselves, its weights shared, and how many there are."""
    sites = replacing.list_sites(plain, args, kwargs)
    meant = [site.name for site in sites if site.learnable] or [site.name for site in sites]
    return replacing.replace(repeating.shared_copy(plain), replacing.REPEAT, meant, sites=sites), len(meant)


def each_call_us(plain: nn.Module) -> float:
    """Microseconds that replacing adds to each of `CALLS` calls of torch."""
    x = torch.rand(1, 8, 4, 4)
    other, _ = repeated(plain, (x,), {})
    found = in_rounds({"plain": lambda: plain(x), "repeated": lambda: other(x)}, FEW)
    return 1e6 * (statistics.median(found["repeated"]) - statistics.median(found["plain"])) / CALLS


def measured() -> dict[str, Any]:
    """Measure in this process."""
    torchvision_operators.available()
    torch.set_num_threads(1)
    plain = factory.build("transformers/segformer-b1")
    args, kwargs = example_inputs.for_image(plain, 256, 256)
    other, count = repeated(plain, args, kwargs)
    models = {"plain": plain, "repeated": other, "twin": repeating.shared_copy(plain)}
    seconds = in_rounds({name: lambda m=model: m(*args, **kwargs) for name, model in models.items()}, ROUNDS)
    spread, ends = numpy.random.default_rng(0), {}
    for name in ("repeated", "twin"):
        logs = numpy.log(numpy.array(seconds[name]) / numpy.array(seconds["plain"]))
        means = numpy.exp(spread.choice(logs, (4000, ROUNDS)).mean(1))
        ends[name] = numpy.quantile(means, [0.025, 0.975]).round(4).tolist()
    each = {kind.__name__: each_call_us(kind().eval()) for kind in (ByName, ByMode, Others)}
    return {"ends": ends, "calls": count, "us": each, "call_s": statistics.median(seconds["plain"])}


def test_a_replaced_model_is_as_fast_as_the_plain_one() -> None:
    pytest.importorskip("transformers")
    environment = {**allocator.worker_environment("kept", os.environ), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-m", "tests.slow.test_replacing_overhead"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found = json.loads(done.stdout.splitlines()[-1])
    ends, each = found["ends"], found["us"]
    print(
        f"repeated / plain {ends['repeated']}, twin / plain {ends['twin']}, {found['calls']} calls of {found['call_s']:.3f} s; "
        f"microseconds a call of torch: answered by name {each['ByName']:.2f}, by a mode {each['ByMode']:.2f}, another call "
        f"under the mode {each['Others']:.2f}"
    )
    assert ends["repeated"][1] < 1.02
    assert max(each.values()) < MOST_US


if __name__ == "__main__":
    print(json.dumps(measured()))
