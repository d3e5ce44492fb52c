"""DySample's samples by the C kernel against its eager form in float64, of the same rounded inputs and weights."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import upbench
from upbench import ops
from upbench.ops import thresholds
from upbench.ops.cpu import window_kernels
from upbench.ops.cpu.moved_samples import offset_moves, offset_moves_fused, sample_moved_fused, take_samples

pytestmark = pytest.mark.skipif(window_kernels._kernels is None, reason="upbench was installed without a C compiler")
ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 1e-2}


def layers(
    channels: int, groups: int, scale: int, shuffle_first: bool, scoped: bool, reach: float, dtype: torch.dtype
) -> list[Any]:
    """The layers of the offsets and of the scopes, or None, with weights that move samples by some pixels."""
    area = scale * scale
    sizes = (channels // area, 2 * groups) if shuffle_first else (channels, 2 * groups * area)
    made: list[Any] = [nn.Conv2d(*sizes, 1), nn.Conv2d(*sizes, 1, bias=reach > 1) if scoped else None]
    for layer in made:
        if layer is not None:
            nn.init.normal_(layer.weight, std=reach * sizes[0] ** -0.5)
            layer.to(dtype)
    return made


@settings(max_examples=80, deadline=None)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 21)),
    st.integers(1, 3),
    st.integers(1, 4),
    st.sampled_from([1, 5, 16, 32, 33, 64, 112]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.0, 1.0, 20.0]),
    st.sampled_from(list(ROUNDING)),
    st.integers(0, 2**16),
)
def test_moved_samples_equal_the_eager_form(
    size: tuple[int, int],
    scale: int,
    groups: int,
    each: int,
    shuffle_first: bool,
    scoped: bool,
    last: bool,
    large: bool,
    reach: float,
    dtype: torch.dtype,
    seed: int,
) -> None:
    """All styles, scales that do not fit vectors, both orders, maps that are turned slice by slice, samples off the map."""
    torch.manual_seed(seed)
    channels = groups * each * (scale * scale if shuffle_first else 1)
    offset, scope = layers(channels, groups, scale, shuffle_first, scoped, reach, dtype)
    order = torch.channels_last if last else torch.contiguous_format
    x = torch.randn(2, channels, *size).to(dtype, memory_format=order)
    given = (groups, scale, shuffle_first)
    with torch.no_grad(), thresholds.for_smaller_maps(2.0**24) if large else nullcontext(), ops.recorded() as ran:
        found = ops.sample_moved(x, offset, scope, *given, backend="fused")
    assert ran == {"sample_points": "fused"}
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=torch.channels_last)
    wide = [None if layer is None else layer.double() for layer in (offset, scope)]
    with torch.no_grad():
        expected = ops.sample_moved(x.double().contiguous(), *wide, *given)
    # A sample moves by as many pixels as its offset is rounded by, and so changes by as many slopes of the map.
    largest = max(1.0, float(expected.abs().max())) * max(1.0, reach)
    assert (found.double() - expected).abs().max() <= 2 * ROUNDING[dtype] * largest


def taken(x: Tensor, made: Tensor, scoped: bool) -> Tensor:
    """Samples of two groups of channels at scale 2, from what the layers make."""
    return take_samples(x, offset_moves(made, scoped).view(1, 4, -1), 2, 2)


@pytest.mark.parametrize("scoped", [False, True])
def test_an_offset_that_is_no_number_spoils_its_own_samples_alone(scoped: bool) -> None:
    x, made = torch.randn(1, 32, 5, 6), torch.randn(1, 32 if scoped else 16, 5, 6)
    expected = taken(x, made, scoped)
    made[0, 4 + 3, 2, 3] = float("nan")  # along x, of the second group and the last child
    found = taken(x, made, scoped)
    assert bool(found[0, 16:, 5, 7].isnan().all())
    found[0, 16:, 5, 7] = expected[0, 16:, 5, 7]
    assert torch.equal(found, expected)


@pytest.mark.parametrize("scope", [-200.0, 200.0])
def test_scopes_at_both_ends_close_and_open_the_range(scope: float) -> None:
    """The sigmoid of what is far from 0 is 0 or 1, and no number too large is met on the way."""
    x, made = torch.randn(1, 16, 4, 5), torch.ones(1, 32, 4, 5)
    made[:, 16:] = scope
    still, moved = (taken(x, torch.full((1, 16, 4, 5), offset), False) for offset in (0.0, 2.0))
    assert torch.allclose(taken(x, made, True), moved if scope > 0 else still, atol=1e-6)
    assert not torch.allclose(moved, still, atol=1e-2)


def test_what_records_gradients_or_autocasts_is_left_to_its_parts() -> None:
    module = upbench.build("dysample", 32, backend="fused")
    x = torch.randn(1, 32, 4, 4)
    assert module(x).requires_grad
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        lowered: Tensor = module(x)
    with torch.no_grad():
        full = module(x)
    assert torch.allclose(lowered, full, atol=0.1)
    assert not torch.equal(lowered, full), "autocast lowers the layers of the offsets"


@pytest.mark.parametrize("scoped", [False, True])
def test_the_ops_are_such_that_torch_can_trace_them(scoped: bool) -> None:
    made = torch.randn(1, 32 if scoped else 16, 3, 4).contiguous(memory_format=torch.channels_last)
    given = (torch.randn(1, 32, 3, 4), torch.randn(1, 4, 48), 2, 2)
    assert set(torch.library.opcheck(offset_moves_fused, (made, scoped)).values()) == {"SUCCESS"}
    assert set(torch.library.opcheck(sample_moved_fused, given).values()) == {"SUCCESS"}


@pytest.mark.parametrize("name", ["dysample", "dysample-s+"])
def test_hooks_of_its_layers_still_run(name: str) -> None:
    module = upbench.build(name, 32, backend="fused")
    seen = []
    module.offset.register_forward_hook(lambda layer, given, out: seen.append(tuple(out.shape)))
    with torch.no_grad():
        module(torch.randn(1, 32, 4, 4))
    assert len(seen) == 1
