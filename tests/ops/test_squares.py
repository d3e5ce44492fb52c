"""Convolutions with 3x3 taps, two by two outputs at a time (`csrc/squares.h`), against torch's in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import upbench
from upbench.machine import environment
from upbench.ops import convolution, offsets, thresholds
from upbench.ops.cpu import map_kernels, native, products, squares

pytestmark = pytest.mark.skipif(map_kernels._kernels is None, reason="no C kernels here")
BOUNDS = {torch.float32: 1e-6, torch.float64: 2e-15}
"""Errors that are allowed, as parts of the largest sum of sizes."""


def error(found: Tensor, x: Tensor, *others: Tensor | None) -> float:
    """The largest one beside the largest sum of the sizes of what is summed."""
    weight, bias, added = (None if t is None else t.double() for t in others)
    both = []
    for size in (lambda t: t, torch.Tensor.abs):
        made = F.conv2d(size(x.double()), size(weight), None if bias is None else size(bias), padding=1)
        more = 0 if added is None else F.interpolate(size(added), made.shape[2:], mode="nearest")
        both.append(made + more)
    return float((found.double() - both[0]).abs().max() / both[1].max())


@given(
    st.integers(1, 2),
    st.integers(1, 3),
    st.integers(1, 40),
    st.integers(1, 6),
    st.integers(1, 30),
    st.sampled_from((0, 1, 2, 3)),
    st.booleans(),
    st.sampled_from(list(BOUNDS)),
)
def test_it_is_a_convolution(
    b: int, vectors: int, outputs: int, h: int, w: int, ratio: int, biased: bool, dtype: torch.dtype
) -> None:
    sizes = (h * max(ratio, 1), w * max(ratio, 1))
    x = torch.randn(b, vectors * native.LANES, *sizes, dtype=dtype)
    weight = torch.randn(outputs, x.shape[1], 3, 3, dtype=dtype) / 10
    bias = torch.randn(outputs, dtype=dtype) if biased else None
    added = torch.randn(b, outputs, h, w, dtype=dtype) if ratio else None
    found = squares.convolve_fused(x, weight, bias, added)
    assert error(found, x, weight, bias, added) <= BOUNDS[dtype]


def test_it_errs_no_more_than_torch() -> None:
    """On average of some maps: the largest error of a single one may be half as large again as torch's, or as much smaller."""
    ours = torchs = 0.0
    for _ in range(12):
        x, weight = torch.randn(1, 64, 40, 44), torch.randn(25, 64, 3, 3) / 10
        ours += error(squares.convolve_fused(x, weight, None, None), x, weight, None, None)
        torchs += error(F.conv2d(x, weight, padding=1), x, weight, None, None)
    assert ours <= 1.3 * torchs


def test_threads_change_nothing() -> None:
    x, weight = torch.randn(1, 32, 37, 41), torch.randn(16, 32, 3, 3)
    found = []
    for threads in (1, 2):
        with environment.with_threads(threads):
            found.append(squares.convolve_fused(x, weight, None, None))
    assert torch.equal(*found)


@pytest.mark.parametrize("smaller", [False, True])
def test_torch_accepts_the_registration(smaller: bool) -> None:
    added = torch.randn(1, 5, 4, 6) if smaller else None
    arguments = (torch.randn(1, 16, 8, 12), torch.randn(5, 16, 3, 3), torch.randn(5), added)
    tests = ("test_schema", "test_faketensor")  # it records no gradient
    results = torch.library.opcheck(torch.ops.upbench.convolve_fused.default, arguments, test_utils=tests)
    assert set(results.values()) == {"SUCCESS"}


TAKEN: dict[str, Any] = {"in_channels": 32, "out_channels": 16, "kernel_size": 3, "padding": 1}


@pytest.mark.parametrize(
    "other",
    [{"stride": 2}, {"padding": 0}, {"dilation": 2}, {"groups": 2}, {"padding_mode": "circular"}, {"kernel_size": 5}],
)
def test_other_convolutions_are_left_to_torch(other: dict[str, Any]) -> None:
    x = torch.randn(1, 32, 40, 40)
    with thresholds.for_smaller_maps(2.0**20):
        if native.LANES >= squares.SLOWEST_LANES:
            assert squares.can_run(nn.Conv2d(**TAKEN), x, None)
        assert not squares.can_run(nn.Conv2d(**(TAKEN | other)), x, None)
        assert not squares.can_run(nn.Conv2d(**TAKEN).half(), x, None)
        assert not squares.can_run(nn.Conv2d(**TAKEN), x, torch.randn(1, 16, 20, 13))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_without_fast_products_is_converted_once(dtype: torch.dtype) -> None:
    """What is summed and added is float32; where torch has fast products they are its own."""
    layer, x, small = (
        t.to(dtype) for t in (nn.Conv2d(**TAKEN), torch.randn(1, 32, 40, 40), torch.randn(1, 16, 20, 20))
    )
    slow = dtype in products.SLOW and native.LANES >= squares.SLOWEST_LANES
    with thresholds.for_smaller_maps(2.0**20), torch.no_grad():
        assert squares.can_run(layer, x, small) == slow
        found = convolution(layer, x, small, backend="fused")
    assert found.dtype == dtype
    rounded = torch.finfo(dtype).eps / 2
    assert error(found, x, layer.weight, layer.bias, small) <= rounded * (1 if slow else 4)


def test_where_a_gradient_is_recorded_torch_computes() -> None:
    layer, x = nn.Conv2d(**TAKEN), torch.randn(1, 32, 40, 40)
    small = torch.randn(1, 16, 20, 20)
    with thresholds.for_smaller_maps(2.0**20):
        recorded = convolution(layer, x, small, backend="fused")
        with torch.no_grad():
            found = convolution(layer, x, small, backend="fused")
    assert recorded.grad_fn is not None
    assert found.is_contiguous(memory_format=torch.channels_last) == (native.LANES >= squares.SLOWEST_LANES)
    torch.testing.assert_close(found, recorded.detach(), rtol=1e-5, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 2),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from((1, 3, 16, 18, 35)),
    st.one_of(st.integers(1, 7), st.just(35)),
    st.integers(1, 30),
)
def test_maps_beside_each_other_are_convolved_each(
    b: int, groups: int, vectors: int, outputs: int, h: int, w: int
) -> None:
    """Of every number of outputs: what does not fill a vector is taken one by one, or with zeros. Gradients of more than one band."""
    channels = vectors * native.LANES
    rows = torch.randn(b, h, w, groups, channels, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(outputs, channels, 3, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(outputs, dtype=torch.float64, requires_grad=True)
    found = squares.convolve_groups_fused(rows, weight, bias)
    maps = rows.flatten(3).permute(0, 3, 1, 2)
    expected = offsets.grouped_convolution(maps, weight, bias, groups)
    torch.testing.assert_close(found.flatten(3), expected, rtol=1e-12, atol=1e-12)
    grad = torch.randn_like(expected)
    slopes = (
        torch.autograd.grad(out, (rows, weight, bias), grad.view_as(out), retain_graph=True)
        for out in (found, expected)
    )
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from((1, 7, 18, 36)))
def test_rows_of_any_number_of_channels_are_read_to_their_end(h: int, w: int, channels: int) -> None:
    """Gradients are rows that are no whole vectors: nothing after the last pixel is read."""
    memory = torch.full((h * w * channels + 64,), torch.nan, dtype=torch.float64)
    rows = memory[: h * w * channels].view(1, h, w, 1, channels).normal_()
    weight, bias = torch.randn(5, channels, 3, 3, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    found = squares.convolve_groups_fused(rows, weight, bias).flatten(3)
    expected = offsets.grouped_convolution(rows.flatten(3).permute(0, 3, 1, 2), weight, bias, 1)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


def test_gradients_of_the_taps_in_float32() -> None:
    """As near as other sums of float32: beside the sum of the sizes of what is summed."""
    rows, grad = torch.randn(1, 60, 61, 2, 32), torch.randn(1, 60, 61, 2, 18)

    def by_torch(rows: Tensor, grad: Tensor) -> Tensor:
        maps, grads = (t.double().flatten(3).permute(0, 3, 1, 2) for t in (rows, grad))
        weight = torch.zeros(18, 32, 3, 3, dtype=torch.float64, requires_grad=True)
        out = F.conv2d(maps, weight.repeat(2, 1, 1, 1), padding=1, groups=2)
        return torch.autograd.grad(out, weight, grads)[0]

    off = squares.convolve_groups_taps_fused(grad, rows)[0] - by_torch(rows, grad)
    assert off.abs().max() <= BOUNDS[torch.float32] * by_torch(rows.abs(), grad.abs()).max()


def test_threads_change_no_gradient_of_the_taps() -> None:
    grad, rows, found = torch.randn(1, 41, 29, 2, 18), torch.randn(1, 41, 29, 2, 32), []
    for threads in (1, 2):
        with environment.with_threads(threads):
            found.append(squares.convolve_groups_taps_fused(grad, rows))
    assert all(torch.equal(*both) for both in zip(*found, strict=True))


def test_gradients_of_gradients() -> None:
    tensors = (torch.randn(1, 3, 4, 2, native.LANES), torch.randn(3, native.LANES, 3, 3), torch.randn(3))
    given = tuple(t.double().requires_grad_() for t in tensors)
    assert torch.autograd.gradgradcheck(squares.convolve_groups_fused, given, fast_mode=True)


def test_torch_accepts_the_registration_of_taps() -> None:
    arguments = tuple(t.requires_grad_() for t in (torch.randn(1, 4, 6, 2, 5), torch.randn(1, 4, 6, 2, 16)))
    results = torch.library.opcheck(torch.ops.upbench.convolve_groups_taps_fused.default, arguments)
    assert set(results.values()) == {"SUCCESS"}


def test_torch_accepts_the_registration_of_groups() -> None:
    tensors = (torch.randn(1, 4, 6, 2, 16), torch.randn(5, 16, 3, 3), torch.randn(5))
    arguments = tuple(t.requires_grad_() for t in tensors)
    results = torch.library.opcheck(torch.ops.upbench.convolve_groups_fused.default, arguments)
    assert set(results.values()) == {"SUCCESS"}


@pytest.mark.parametrize("k_e", [1, 3])
def test_points_are_the_same_with_the_kernel(k_e: int) -> None:
    module = upbench.build("ldaaqu", 128, seed=0, backend="fused", k_e=k_e)
    module.set_offsets("trained", torch.Generator().manual_seed(1))
    x = torch.randn(1, 128, 9, 11)
    plain = module(x)
    with thresholds.for_smaller_maps(2.0**20):
        found = module(x)
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-4)
