"""The automatic backend is never much slower than the better of eager and fused, from maps of 36 pixels on; `-s` prints the table.

Medians of processor time at one thread, in rounds of random order. Three minutes on a machine of one's own.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

import upbench
from upbench import ops, registry
from upbench.deploy.latency import rounds

pytestmark = pytest.mark.slow
NAMES = ("dysample", "dysample-s+", "ldaaqu", "laaqu", "carafe", "a2u", "fade", "sapa-b", "sapa-d", "resfu")
SIZES = ((8, 32, 6), (2, 32, 16), (1, 64, 30), (1, 256, 8), (1, 256, 30))
"""Samples, channels and side of x."""
WAYS = ("eager", "fused", "auto")
WORST = 1.3
"""What the automatic choice may take of the better form: choices are by size alone, and these calls take milliseconds."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def call_of(
    name: str, way: str, size: tuple[int, int, int], training: bool
) -> tuple[Callable[[], Any], dict[str, str]]:
    """A call of one form, and what ran in it."""
    batch, channels, side = size
    card, generator = registry.get(name), torch.Generator().manual_seed(0)
    setting = replace(registry.setting_of(card, channels, None, None, {}), batch=batch, height=side, width=side)
    module: Any = upbench.build(name, channels, seed=0, backend=way).train(training)
    if hasattr(module, "set_offsets"):
        module.set_offsets("trained", generator)
    shapes = ((batch, channels, side, side), *card.guide_shapes(setting))
    tensors = [torch.randn(shape, generator=generator).requires_grad_(training) for shape in shapes]
    leaves = [*tensors, *module.parameters()]

    def infer() -> None:
        with torch.no_grad():
            module(*tensors)

    def train() -> None:
        for leaf in leaves:
            leaf.grad = None
        module(*tensors).square().mean().backward()

    call = train if training else infer
    with ops.recorded() as ran:
        call()
    return call, ran


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("name", NAMES)
def test_auto_is_the_better_form(name: str, training: bool) -> None:
    late = []
    for size in SIZES:
        made = {way: call_of(name, way, size, training) for way in WAYS}
        found = rounds({way: call for way, (call, _) in made.items()}, budget_s=0.6)
        middle = {way: statistics.median(found[way]) * 1e3 for way in WAYS}
        best = min(middle["eager"], middle["fused"])
        took = "eager" if "eager" in made["auto"][1].values() else "fused"
        mode = "training" if training else "inference"
        shape = "x".join(map(str, (*size, size[-1])))
        times = " | ".join(f"{middle[way]:.2f}" for way in WAYS)
        print(f"| {name} | {mode} | {shape} | {times} | {middle['auto'] / best:.2f} | {took} |", flush=True)
        if middle["auto"] > WORST * best:
            late.append(f"{shape}: auto {middle['auto']:.2f} ms, best {best:.2f}")
    assert late == []
