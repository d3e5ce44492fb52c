"""Upsamplers over windows, fused against eager: processor time and workspace, taken in turns.

`pytest -n 0 -m slow -s tests/slow/test_fused_windows.py` prints a table. Two threads would wait for each other on a busy
machine, so that one computes, and its processor time is what counts; workspace is the peak without what is returned.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

import upbench
from upbench.measure import memory
from upbench.measure.cpu_clock import ThreadMeter
from upbench.measure.output import maps

pytestmark = pytest.mark.slow

ROUNDS = 3


@dataclass(frozen=True)
class Claim:
    """How many times less processor time, and how many times less workspace, the fused form needs."""

    name: str
    x: tuple[int, int, int]
    guide: tuple[int, int, int] | None
    faster: float
    smaller: float
    scale: int = 2
    params: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return " ".join((self.name, "x".join(map(str, self.x)), *(f"{k}={v}" for k, v in self.params.items())))


# Flow of two channels at 8 times: convolutions are most of the time, and the weights are most of the memory.
CLAIMS = [
    Claim("jbu", (384, 112, 112), (3, 224, 224), 8, 10),
    Claim("freqfusion", (256, 120, 120), (256, 240, 240), 6, 3),
    Claim("freqfusion", (256, 120, 120), (256, 240, 240), 6, 3, params={"border": "reflect"}),
    Claim("freqfusion", (256, 120, 120), (256, 240, 240), 6, 3, params={"resample": True}),
    Claim("dlu", (256, 120, 120), None, 10, 8),
    Claim("convex", (256, 120, 120), (128, 120, 120), 4, 4, params={"gain": 1}),
    Claim("convex", (2, 55, 128), (128, 55, 128), 0.9, 0.6, scale=8),
]


@pytest.mark.parametrize("claim", CLAIMS, ids=str)
def test_the_fused_form_is_faster_and_smaller(claim: Claim) -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(1, *shape) for shape in (claim.x, claim.guide) if shape is not None]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        calls = {backend: call(claim, backend, inputs) for backend in ("eager", "fused")}
        workspace = {backend: measured(one) for backend, one in calls.items()}
        meter, taken = ThreadMeter(), {backend: [] for backend in calls}
        for n in range(ROUNDS):
            for backend in sorted(calls, reverse=n % 2 == 1):
                taken[backend].append(meter.sample(calls[backend], 1).cpu_s)
    finally:
        torch.set_num_threads(threads)
    faster = statistics.median(taken["eager"]) / statistics.median(taken["fused"])
    smaller = workspace["eager"] / workspace["fused"]
    print(f"\n{claim}: {faster:.1f} times as fast, 1/{smaller:.1f} of the workspace", flush=True)
    assert faster >= claim.faster
    assert smaller >= claim.smaller


def call(claim: Claim, backend: str, inputs: list[Tensor]) -> Any:
    module = upbench.build(
        claim.name,
        claim.x[0],
        claim.scale,
        None if claim.guide is None else claim.guide[0],
        seed=1,
        **claim.params,
    ).eval()
    module.backend = backend

    def forward() -> object:
        with torch.inference_mode():
            return module(*inputs)

    return forward


def measured(one: Any) -> int:
    """Bytes at the peak of a call without those that it returns; the first call is for what is filled once."""
    returned = sum(out.numel() * out.element_size() for out in maps(one()))
    return memory.peak_bytes(one, torch.device("cpu")) - returned
