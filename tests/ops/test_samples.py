"""The C kernel for bilinear samples against torch's sampling in float64, of the same rounded inputs."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from upbench import ops
from upbench.ops import thresholds
from upbench.ops.cpu import native, samples, window_kernels
from upbench.ops.cpu.value_slices import value_slices

pytestmark = pytest.mark.skipif(window_kernels._kernels is None, reason="upbench was installed without a C compiler")
ROUNDING = {torch.float64: 1e-12, torch.float32: 4e-6, torch.bfloat16: 1e-2, torch.float16: 1e-2}
sizes = st.integers(1, 9)


@settings(max_examples=80, deadline=None)
@given(
    st.tuples(sizes, sizes),
    st.tuples(sizes, sizes),
    st.integers(1, 3),
    st.sampled_from([1, 5, 16, 33, 64, 112]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.0, 0.5, 9.0]),
    st.sampled_from(list(ROUNDING)),
    st.integers(0, 2**16),
)
def test_samples_equal_torchs(
    size: tuple[int, int],
    out: tuple[int, int],
    groups: int,
    each: int,
    last: bool,
    large: bool,
    reach: float,
    dtype: torch.dtype,
    seed: int,
) -> None:
    """Channels that fill vectors and that do not, both orders, maps that are turned slice by slice, points off the map."""
    torch.manual_seed(seed)
    order = torch.channels_last if last else torch.contiguous_format
    x = torch.randn(2, groups * each, *size).to(dtype, memory_format=order)
    where = torch.rand(2, 2, groups, *out) * (torch.tensor(size).flip(0).view(2, 1, 1, 1) - 1)
    points = (
        (where + reach * torch.randn_like(where)).to(ops.coordinate_dtype(dtype)).permute(0, 2, 3, 4, 1).unsqueeze(2)
    )
    expected = ops.sample_points(x.double(), points.double(), "border").squeeze(2)
    assert samples.can_run(x, points, "border")
    with thresholds.for_smaller_maps(2.0**24) if large else nullcontext():
        for given_points in (points, points.contiguous()):
            found = samples.sample(x, given_points)
            assert found.dtype == dtype
            assert found.is_contiguous(memory_format=torch.channels_last)
            largest = max(1.0, float(expected.abs().max()))
            assert (found.double() - expected).abs().max() <= ROUNDING[dtype] * largest


@pytest.mark.parametrize("position", [float("nan"), float("inf"), -float("inf")])
def test_a_position_that_is_no_number_spoils_its_own_sample_alone(position: float) -> None:
    x, points = torch.randn(1, 32, 5, 6), torch.rand(1, 2, 1, 4, 7, 2) * 4
    expected = samples.sample(x, points)
    points[0, 1, 0, 2, 3, 0] = position
    found = samples.sample(x, points)
    assert bool(found[0, 16:, 2, 3].isnan().all())
    found[0, 16:, 2, 3] = expected[0, 16:, 2, 3]
    assert torch.equal(found, expected)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_the_last_row_and_column_are_read_alone(order: torch.memory_format) -> None:
    """What a position exactly on the border does not weigh is not read: what lies before it there is no number."""
    x = torch.full((1, 16, 4, 5), float("nan")).contiguous(memory_format=order)
    x[:, :, 3, 4] = 2.0
    points = torch.tensor((9.0, 7.0)).expand(1, 1, 1, 2, 3, 2)
    assert bool((samples.sample(x, points) == 2).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_of_a_large_map_lie_in_slices_of_its_channels(dtype: torch.dtype) -> None:
    x = torch.randn(2, 192, 6, 5).to(dtype)
    assert value_slices(x, 2) is x
    with thresholds.for_smaller_maps(2.0**24):
        found = value_slices(x, 2)
    read = native.value_dtype(x, 2)
    assert read in (dtype, torch.float32)
    # Slices never reach into another block of channels.
    expected = x.unflatten(1, (-1, 32)).permute(0, 1, 3, 4, 2) if read == dtype else x
    assert torch.equal(found, expected)
