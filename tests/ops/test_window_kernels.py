"""The C kernels for windows against the same ops made of torch's, in every dtype that they read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from upbench.ops import destination, thresholds
from upbench.ops.cpu import native, projection, window_kernels, windows
from upbench.ops.fused import window_assemble_fused

pytestmark = pytest.mark.skipif(window_kernels._kernels is None, reason="upbench was installed without a C compiler")
sizes = st.integers(1, 9)
ROUNDING = {torch.float64: 1e-12, torch.float32: 4e-6, torch.bfloat16: 1e-2, torch.float16: 1e-2}


@contextmanager
def without_c() -> Iterator[None]:
    kept, window_kernels._kernels = window_kernels._kernels, None
    try:
        yield
    finally:
        window_kernels._kernels = kept


def close(found: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    assert found.dtype == dtype
    assert found.shape == expected.shape
    assert (found.double() - expected).abs().max() <= ROUNDING[dtype] * max(1.0, float(expected.abs().max()))


@settings(max_examples=80, deadline=None)
@given(
    sizes,
    sizes,
    st.tuples(st.integers(0, 19), st.integers(0, 19)),
    st.sampled_from([1, 2, 3, 4, 0]),
    st.sampled_from([1, 3, 5]),
    st.integers(1, 3),
    st.sampled_from([1, 5, 16, 33, 80]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(list(ROUNDING)),
    st.integers(0, 2**16),
)
def test_both_forms_agree(
    h: int,
    w: int,
    more: tuple[int, int],
    scale: int,
    kernel: int,
    groups: int,
    each: int,
    mirrored: bool,
    last: bool,
    dtype: torch.dtype,
    seed: int,
) -> None:
    """Cells with any number of children, channels that fill vectors and that do not, both memory orders, three images."""
    torch.manual_seed(seed)
    mirrored = mirrored and min(h, w) > kernel // 2
    out_h, out_w = (h * scale, w * scale) if scale else (h + more[0], w + more[1])
    order = torch.channels_last if last else torch.contiguous_format
    x, query = (
        torch.randn(3, groups * each, *size).to(dtype, memory_format=order) for size in ((h, w), (out_h, out_w))
    )
    weight = torch.randn(3, groups, kernel**2, out_h, out_w).to(dtype)
    wide = [t.double() for t in (x, query, weight)]
    with without_c():
        expected = (
            windows.window_assemble(wide[0], wide[2], kernel, mirrored),
            windows.window_similarity(wide[1], wide[0], kernel, groups, mirrored),
            windows.window_scatter(wide[1], wide[2], kernel, h, w, mirrored),
        )
    found = (
        windows.window_assemble(x, weight, kernel, mirrored),
        windows.window_similarity(query, x, kernel, groups, mirrored),
        windows.window_scatter(query, weight, kernel, h, w, mirrored),
    )
    for one, other in zip(found, expected, strict=True):
        close(one, other, dtype)


def test_a_result_past_the_caches_is_the_same() -> None:
    x, weight = torch.randn(1, 64, 8, 6), torch.randn(1, 1, 9, 16, 12)
    expected = windows.window_assemble(x, weight, 3)
    with thresholds.for_smaller_maps(2.0**20):
        assert torch.equal(windows.window_assemble(x, weight, 3), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_as_torch_does(dtype: torch.dtype) -> None:
    """Numbers below the normal ones, infinite ones, those that round up to infinity, and what is no number."""
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    x = bits.view(1, 64, 32, 32)
    one = torch.ones(1, 1, 1, 32, 32, dtype=dtype)
    found = windows.window_assemble(x, one, 1)
    assert torch.equal(found.nan_to_num(7), x.nan_to_num(7))
    assert torch.equal(found.isnan(), x.isnan())
    third = torch.full_like(one, 1 / 3)
    assert torch.equal(
        windows.window_assemble(x, third, 1).nan_to_num(7), (x.float() * third[0].float()).to(dtype).nan_to_num(7)
    )
    large = torch.full_like(one, 3)
    expected = (x.float() * large[0].float()).to(dtype)
    assert torch.equal(windows.window_assemble(x, large, 1).nan_to_num(7), expected.nan_to_num(7))


def test_a_struct_of_another_size_is_refused() -> None:
    for entry in ("assemble", "similarity", "scatter"):
        with pytest.raises(TypeError, match="another struct"):
            getattr(window_kernels._kernels, entry)(0, 8, 0, 1, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("hidden", [-torch.inf, -3e38])
def test_a_tap_that_is_far_from_the_largest_weighs_nothing(dtype: torch.dtype, hidden: float) -> None:
    x, logits = torch.randn(1, 16, 4, 4, dtype=dtype), torch.randn(1, 1, 9, 8, 8, dtype=dtype)
    logits[:, :, 3], logits[:, :, 5] = hidden, 1e38
    found = window_kernels.reassemble(x, logits, None, None, 3, 2)
    wide = logits.double().softmax(2)
    close(found, windows.window_assemble(x.double(), wide, 3), dtype)


def test_a_guide_of_one_channel_lies_in_any_order() -> None:
    x, logits = torch.randn(1, 1, 4, 4), torch.randn(1, 1, 9, 8, 8)
    guide, gate = torch.randn(1, 1, 8, 8), torch.rand(1, 1, 4, 4)
    expected = window_kernels.reassemble(x, logits, guide, gate, 3, 2)
    other = guide.as_strided(guide.shape, (64, 1, 8, 1))
    assert torch.equal(window_kernels.reassemble(x, logits, other, gate, 3, 2), expected)


def test_a_large_result_is_written_to_memory_that_begins_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "STREAMED", 1)
    monkeypatch.setattr(thresholds, "scaled", lambda size: size)
    x, weight = torch.randn(1, 16, 4, 4), torch.rand(1, 1, 9, 8, 8)
    expected = window_kernels.assemble(x, weight, 3, False)
    memory = torch.zeros(16 * 64 + 1)[1:].view(1, 8, 8, 16).permute(0, 3, 1, 2)
    with destination.writing_into(memory):
        found = window_kernels.assemble(x, weight, 3, False)
    assert found.data_ptr() == memory.data_ptr()
    assert torch.equal(found, expected)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 3),
    st.sampled_from([16, 32, 80]),
    st.integers(1, 23),
    st.integers(1, 23),
    st.sampled_from(list(ROUNDING)),
)
def test_planes_become_rows(b: int, c: int, h: int, w: int, dtype: torch.dtype) -> None:
    x = torch.randn(b, c, h, w).mul(100).to(dtype)
    assert torch.equal(window_kernels.planes_to_rows(x), x.permute(0, 2, 3, 1))


@given(st.integers(1, 2), st.integers(1, 40), st.integers(1, 9), st.sampled_from(list(ROUNDING)), st.booleans())
def test_rows_become_planes(b: int, c: int, h: int, dtype: torch.dtype, past_the_caches: bool) -> None:
    x = torch.randn(b, c, h, 16).mul(100).to(dtype)
    with thresholds.for_smaller_maps(2.0**20 if past_the_caches else 1.0):
        found = windows.rows_to_planes(x.contiguous(memory_format=torch.channels_last))
    assert torch.equal(found, x)
    assert found.is_contiguous()


def test_the_gradient_of_planes_lies_in_planes() -> None:
    """torch adds to it, and keeps it, so; its own copies take three times as long."""
    x, weight = torch.randn(1, 16, 4, 8, requires_grad=True), torch.rand(1, 1, 9, 8, 16)
    assert window_assemble_fused(x, weight, 3).is_contiguous(memory_format=torch.channels_last)
    with thresholds.for_smaller_maps(2.0**20):
        (slope,) = torch.autograd.grad(window_assemble_fused(x, weight, 3).sum(), x)
        (rows,) = torch.autograd.grad(
            window_assemble_fused(x.contiguous(memory_format=torch.channels_last), weight, 3).sum(), x
        )
    assert slope.is_contiguous()
    assert torch.allclose(slope, rows)


def test_a_gradient_that_lies_in_planes_is_differentiated_twice() -> None:
    x, weight = torch.randn(1, 16, 3, 4, dtype=torch.float64), torch.rand(1, 1, 9, 6, 8, dtype=torch.float64)
    grad = torch.randn(1, 16, 6, 8, dtype=torch.float64, requires_grad=True)
    with thresholds.for_smaller_maps(2.0**20):
        x.requires_grad_()
        (slope,) = torch.autograd.grad(window_assemble_fused(x, weight, 3), x, grad, create_graph=True)
        (found,) = torch.autograd.grad(slope.square().sum() / 2, grad)
    assert torch.allclose(found, window_assemble_fused(slope.detach(), weight, 3), rtol=1e-9)


def test_taps_outside_are_not_compared() -> None:
    """Their logits are 0 whatever the query is, where the plain form multiplies by zeros and returns what is no number."""
    query, keys = torch.full((1, 16, 2, 2), torch.nan), torch.randn(1, 16, 2, 2)
    found = window_kernels.similarity(query, keys, 3, 1, False)[0, 0, :, 0, 0]
    outside = torch.tensor([True, True, True, True, False, False, True, False, False])
    assert found[outside].eq(0).all()
    assert found[~outside].isnan().all()


@pytest.mark.parametrize("dtype", list(ROUNDING))
@pytest.mark.parametrize("outputs", [1, 16, 20, 32, 48, 64, 83, 130])
@pytest.mark.parametrize(("channels", "side"), [(1, 3), (37, 5), (64, 9), (256, 13)])
@pytest.mark.parametrize("planes", [True, False])
def test_a_pointwise_convolution_is_that_of_torch(
    dtype: torch.dtype, outputs: int, channels: int, side: int, planes: bool
) -> None:
    generator = torch.Generator().manual_seed(outputs)
    x, weight, bias = (
        torch.randn(size, generator=generator).to(dtype)
        for size in ((2, channels, side, side), (outputs, channels, 1, 1), (outputs,))
    )
    if not planes:
        x = x.to(memory_format=torch.channels_last)
    close(projection.project(x, weight, bias), F.conv2d(x.double(), weight.double(), bias.double()), dtype)
