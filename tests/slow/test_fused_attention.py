"""Attention from output pixels to cells, fused against eager: processor time and memory, taken in turns.

`pytest -n 0 -m slow -s tests/slow/test_fused_attention.py` prints a line a claim. Whole modules from 384x16x16 to 224x224,
then the step from queries, keys and x to the output alone. Two threads would wait for each other on a busy machine, so that
one computes, and its processor time is what counts. Workspace is the peak without what is returned.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

import upbench
from upbench import ops
from upbench.measure import memory
from upbench.measure.cpu_clock import ThreadMeter

pytestmark = pytest.mark.slow

ROUNDS = 3
CHANNELS, CELLS, PIXELS, DIM, HEADS = 384, 16, 224, 128, 4


def ratios(calls: dict[str, Callable[[], Tensor]], of_workspace: bool) -> tuple[float, float]:
    """How many times less processor time, and memory, the fused form needs: medians of turns, of one thread."""
    threads, meter = torch.get_num_threads(), ThreadMeter()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            returned = {name: call().nbytes if of_workspace else 0 for name, call in calls.items()}
            peak = {name: memory.peak_bytes(call, torch.device("cpu")) for name, call in calls.items()}
            taken: dict[str, list[float]] = {name: [] for name in calls}
            for n in range(ROUNDS):
                for name in sorted(calls, reverse=n % 2 == 1):
                    taken[name].append(meter.sample(calls[name], 1).cpu_s)
    finally:
        torch.set_num_threads(threads)
    held = {name: peak[name] - returned[name] for name in calls}
    time = statistics.median(taken["eager"]) / statistics.median(taken["fused"])
    return time, held["eager"] / held["fused"]


@pytest.mark.parametrize(("name", "faster", "part"), [("anyup", 1.4, 0.4), ("jafar", 1.4, 0.45), ("naf", 1.4, 0.45)])
def test_whole_modules(name: str, faster: float, part: float) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(1, CHANNELS, CELLS, CELLS), torch.randn(1, 3, PIXELS, PIXELS)
    calls = {}
    for backend in ("eager", "fused"):
        module = upbench.build(name, CHANNELS, PIXELS // CELLS, seed=1, backend=backend).eval()
        calls[backend] = partial(module, *inputs)
    time, peak = ratios(calls, of_workspace=False)
    print(f"\n{name}: {time:.2f} times as fast, {1 / peak:.2f} of the peak", flush=True)
    assert time >= faster
    assert 1 / peak <= part


@pytest.mark.parametrize(
    ("name", "faster", "smaller"), [("anyup", 8, 8), ("jafar", 2, 20), ("naf", 8, 8)], ids=["anyup", "jafar", "naf"]
)
def test_attention_alone(name: str, faster: float, smaller: float) -> None:
    torch.manual_seed(0)
    dim = 2 * DIM if name == "naf" else DIM
    query, keys = torch.randn(1, dim, PIXELS, PIXELS), torch.randn(1, dim, CELLS, CELLS)
    x, weight, bias = torch.randn(1, CHANNELS, CELLS, CELLS), torch.randn(dim, dim), torch.randn(dim)
    window = 0.1 if name == "anyup" else 0.0

    def eager() -> Tensor:
        if name == "naf":
            return ops.dilated_attention(query, keys, x, 9, HEADS, backend="eager")
        # Without what the release drops, which the fused form does not compute.
        weights = ops.attention_weights(query, keys, HEADS, window).mean(1, keepdim=True)
        return ops.attention_assemble(weights, x).unflatten(2, (PIXELS, PIXELS))

    def fused() -> Tensor:
        if name == "naf":
            return ops.dilated_attention(query, keys, x, 9, HEADS, backend="fused")
        return ops.averaged_attention(query, keys, x, keys, weight, bias, HEADS, window, backend="fused")

    time, workspace = ratios({"eager": eager, "fused": fused}, of_workspace=True)
    print(f"\n{name}, the attention alone: {time:.1f} times as fast, 1/{workspace:.0f} of the workspace", flush=True)
    assert time >= faster
    assert workspace >= smaller
