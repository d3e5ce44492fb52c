"""Gradients that are recorded, to be differentiated again, are those of the eager form: `create_graph=True`, as penalties on gradients ask."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import upbench
from upbench import registry

CHANNELS, SIDE, OUT = 32, 10, 48
"""Sides of the input, and of the output where that would be larger: at 16 times."""
NAMES = [name for name in registry.names() if upbench.build(name, CHANNELS).fused_ops]
Slopes = list[Tensor | None]


def tensors_of(name: str) -> list[Tensor]:
    card = registry.get(name)
    side = min(SIDE, max(3, OUT // card.default_scale))
    setting = replace(registry.setting_of(card, CHANNELS, None, None, {}), batch=1, height=side, width=side)
    generator = torch.Generator().manual_seed(0)
    shapes = ((1, CHANNELS, side, side), *card.guide_shapes(setting))
    return [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]


def slopes(name: str, backend: str, recorded: bool = True) -> tuple[Slopes, Slopes]:
    """The gradients of everything, and those of the sum of their squares where they are recorded."""
    module: Any = upbench.build(name, CHANNELS, seed=1, backend=backend).double().eval()
    given = tensors_of(name)
    leaves = [*given, *module.parameters()]
    out = module(*given)
    outs = out if isinstance(out, tuple) else (out,)
    total = sum((one * torch.arange(one.numel(), dtype=torch.float64).sin().view_as(one)).sum() for one in outs)
    found = torch.autograd.grad(total, leaves, create_graph=recorded, allow_unused=True)
    squares = [t.square().sum() for t in found if t is not None and t.requires_grad]
    twice = torch.autograd.grad(sum(squares), leaves, allow_unused=True) if squares else ()  # type: ignore[arg-type]
    return list(found), list(twice)


def close(found: Slopes, expected: Slopes) -> None:
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert (one - other).abs().max() <= 1e-7 * other.abs().max().clamp(min=1)


@pytest.mark.filterwarnings("error:.*an autograd kernel was not registered")
@pytest.mark.parametrize("name", NAMES)
def test_recorded_gradients(name: str) -> None:
    """Where tensors of an op are made of each other too, as A2U's filters are of its guide."""
    expected, expected_twice = slopes(name, "eager")
    found, twice = slopes(name, "fused")
    close(found, expected)
    close(found, slopes(name, "fused", recorded=False)[0])
    close(twice, expected_twice)
