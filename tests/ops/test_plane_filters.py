"""Two filters at stride 2 and their gradients, by the C kernels (`csrc/affinity_slopes.h`) and by blocks, against torch's in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from upbench.ops.cpu import map_kernels
from upbench.ops.cpu.affinity_slope import affinity_slope_fused
from upbench.ops.cpu.blocked_filters import BlockFilters
from upbench.ops.cpu.plane_filters import PlaneFilters

BOUNDS = {torch.float32: 1e-6, torch.float64: 2e-15}
"""Errors that are allowed, as parts of the largest sum of sizes."""
WAYS = [
    pytest.param(PlaneFilters, marks=pytest.mark.skipif(map_kernels._kernels is None, reason="no C kernels here")),
    BlockFilters,
]


def right(filters: Tensor, guide: Tensor, dmaps: Tensor) -> list[Tensor]:
    """Maps [2, C, H, W], then the gradients of guide and filters, in float64."""
    leaves = [t.double().requires_grad_() for t in (guide, filters)]
    made = F.conv2d(leaves[0].unsqueeze(1), leaves[1].unsqueeze(1), stride=2, padding=(filters.shape[-1] - 1) // 2)
    maps = made.transpose(0, 1)
    return [maps.detach(), *torch.autograd.grad(maps, leaves, dmaps.double())]


@pytest.mark.parametrize("way", WAYS)
@settings(deadline=None)
@given(
    st.sampled_from((2, 3, 4, 5, 6, 7, 9, 13)),
    st.integers(1, 19),
    st.integers(1, 40),
    st.integers(1, 3),
    st.sampled_from(list(BOUNDS)),
    st.integers(0, 2**16),
)
def test_maps_and_gradients(
    way: type[PlaneFilters], kernel: int, h: int, w: int, channels: int, dtype: torch.dtype, seed: int
) -> None:
    """Rows and columns that fill no block or vector, filters larger than the map; what is given twice is added up."""
    torch.manual_seed(seed)
    filters = torch.randn(2, kernel, kernel, dtype=dtype)
    guide = torch.randn(channels, 2 * h, 2 * w, dtype=dtype)
    dmaps = torch.randn(2, channels, h, w, dtype=dtype)
    both = way(filters, h, w)

    def planes(maps: Tensor) -> Tensor:
        return torch.stack([both.plane(one) for one in maps.flatten(0, 1)]).view(2, channels, h, w)

    ordered = torch.stack([both.order(one) for one in dmaps.flatten(0, 1)]).view(2, channels, -1)
    slopes = [torch.empty_like(guide) for _ in range(2)]
    found = [planes(both.maps(guide)), slopes[1]]
    for slope in slopes:
        both.guide_slope(ordered, guide, slope)
    assert torch.equal(*slopes)
    expected, sizes = right(filters, guide, dmaps), right(filters.abs(), guide.abs(), dmaps.abs())
    for value, good, size in zip([*found, both.filter_slope() / 2], expected, sizes, strict=True):
        assert value.dtype == dtype
        assert (value - good).abs().max() <= BOUNDS[dtype] * size.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_without_kernels_gradients_are_the_same(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of half precision, and where the guide's channels lie last."""
    torch.manual_seed(0)
    grad, guide = torch.randn(2, 5, 6, 10).to(dtype), torch.randn(2, 8, 12, 20).to(dtype)
    small = [torch.randn(*shape).to(dtype) for shape in ((2, 2, 6, 6), (8, 2), (8, 2), (2, 5, 1, 1))]
    found = affinity_slope_fused(grad, guide.to(memory_format=torch.channels_last), *small, 4, 1e-5, 0.01)
    monkeypatch.setattr(map_kernels, "_kernels", None)
    expected = affinity_slope_fused(grad, guide, *small, 4, 1e-5, 0.01)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == dtype
        assert (one - other).abs().max() <= 1e-2 * other.abs().max()
