"""Steps on maps of bfloat16, which some CPUs multiply two numbers at a time, against the eager forms in float64 of the same numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.ops.test_maps import block
from upbench import ops
from upbench.ops.cpu import difference_kernels, map_kernels
from upbench.ops.cpu.products import widens

few = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**16)
built = pytest.mark.skipif(map_kernels._kernels is None, reason="the C kernels were not built here")
HALF, DOUBLE = torch.bfloat16, torch.float64


@built
@few
@given(
    st.tuples(st.integers(1, 9), st.integers(2, 150)),
    st.sampled_from([(2, 1), (6, 3), (16, 16), (40, 5), (5, 5)]),
    st.sampled_from([1, 4, 6, 33]),
    st.booleans(),
    seeds,
)
def test_a_norm_within_a_convolution(
    size: tuple[int, int], channels: tuple[int, int], outputs: int, bias: bool, seed: int
) -> None:
    """Planes of any length, means far from zero, outputs that do not fill what is summed at once. The result is float32."""
    torch.manual_seed(seed)
    norm, layer = nn.GroupNorm(channels[1], channels[0], 1e-3), nn.Conv2d(channels[0], outputs, 1, bias=bias)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    norm, layer = norm.to(HALF), layer.to(HALF)
    x = (torch.randn(2, channels[0], *size) + 9 * torch.randn(channels[0], 1, 1)).to(HALF)
    with torch.no_grad():
        found = ops.normed_conv1x1(norm, layer, x, True, backend="fused")
        expected = ops.normed_conv1x1(norm.to(DOUBLE), layer.to(DOUBLE), x.double())
    assert found.is_contiguous()
    assert found.dtype == (torch.float32 if widens(x) else HALF)
    assert (found - expected).abs().max() <= 2e-2 * expected.abs().max().clamp(min=1)


@built
@few
@given(
    st.tuples(st.integers(1, 11), st.integers(1, 19)),
    st.sampled_from([(8, 4, 2), (8, 2, 4), (16, 4, 8), (4, 4, 2), (32, 1, 8)]),
    st.sampled_from([1, 3, 5]),
    st.integers(1, 3),
    st.sampled_from([torch.float32, HALF]),
    st.booleans(),
    seeds,
)
def test_paired_differences(
    size: tuple[int, int],
    parts: tuple[int, int, int],
    kernel: int,
    ratio: int,
    dtype: torch.dtype,
    resized: bool,
    seed: int,
) -> None:
    """Whole tiles and parts of them, a resized key and others, means far from zero; maps that became float32 stay float32."""
    torch.manual_seed(seed)
    channels, groups, norm_groups = parts
    made = block(channels, groups, kernel, ratio, norm_groups).to(HALF)
    coarse = (torch.randn(2, channels, *size) + 5 * torch.randn(channels, 1, 1)).to(HALF)
    query = (torch.randn(2, channels, *(n * ratio for n in size)) + 5).to(HALF)
    if query[0, 0].numel() * channels // norm_groups < 9:
        return

    def scores(dtype: torch.dtype, backend: str) -> Tensor:
        low, high = coarse.to(dtype), query.to(dtype)
        key = ops.resize_map(coarse.double(), *query.shape[2:]).to(dtype)
        given: Any = (key, high, backend, low if resized else None, True)
        return made.to(dtype)(*given)  # type: ignore[no-any-return]

    with torch.no_grad():
        found, expected = scores(dtype, "fused"), scores(DOUBLE, "eager")
    assert found.dtype == dtype
    assert (found - expected).abs().max() <= 3e-2 * expected.abs().max()


def test_what_is_not_to_be_rounded_is_not() -> None:
    """Float32 that nobody allowed to round is as near as float32 is."""
    made, maps = block(8, 4, 3, 2, 4), [torch.randn(1, 8, 17, 30) for _ in range(2)]
    with torch.no_grad():
        found, allowed = (made(*maps, "fused", None, rounded) for rounded in (False, True))
        exact = made.double()(*(t.double() for t in maps))
    assert (found - exact).abs().max() <= 2e-5 * exact.abs().max()
    assert torch.equal(found, allowed) == (not difference_kernels.by_pairs(8, 128, 4))
