"""Steps around windows as one op, forward and backward, against the same steps one by one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from upbench import ops
from upbench.errors import BackendError
from upbench.ops import thresholds
from upbench.ops.cpu import window_kernels
from upbench.ops.cpu.reassembly import attend_window_fused, project_fused, reassemble_fused

pytestmark = pytest.mark.skipif(window_kernels._kernels is None, reason="upbench was installed without a C compiler")
sizes = st.integers(1, 9)
seeds = st.integers(0, 2**16)
dtypes = st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16])
FORWARD = {torch.float64: 1e-12, torch.float32: 4e-6, torch.bfloat16: 1e-2, torch.float16: 1e-2}
BACKWARD = {torch.float64: 1e-9, torch.float32: 2e-5}
DOUBLE = torch.float64


def agree(call: Callable[..., Tensor], inputs: list[Tensor], dtype: torch.dtype) -> None:
    """In float64 the eager form, in `dtype` the fused one, of the same rounded inputs."""
    inputs = [t.to(dtype) for t in inputs]
    wide = [t.to(DOUBLE).requires_grad_() for t in inputs]
    expected = call("eager", *wide)
    with torch.no_grad(), thresholds.for_smaller_maps(2.0**20):
        found = call("fused", *inputs)
    assert found.dtype == dtype
    assert (found.double() - expected).abs().max() <= FORWARD[dtype] * max(1.0, float(expected.abs().max()))
    if dtype in BACKWARD:
        grad = torch.randn_like(expected).to(dtype)
        given = [t.requires_grad_() for t in inputs]
        with thresholds.for_smaller_maps(2.0**20):
            slopes = torch.autograd.grad(call("fused", *given), given, grad)
        for one, other in zip(slopes, torch.autograd.grad(expected, wide, grad.double()), strict=True):
            assert one.shape == other.shape
            assert (one - other).abs().max() <= BACKWARD[dtype] * max(1.0, float(other.abs().max()))


@settings(max_examples=60, deadline=None)
@given(
    sizes,
    sizes,
    st.integers(1, 3),
    st.sampled_from([1, 3, 5]),
    st.integers(1, 3),
    st.sampled_from([1, 5, 16, 35]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    dtypes,
    seeds,
)
def test_reassembly(
    h: int,
    w: int,
    scale: int,
    kernel: int,
    groups: int,
    each: int,
    shuffled: bool,
    mixes: bool,
    last: bool,
    dtype: torch.dtype,
    seed: int,
) -> None:
    """Weights of pixels and of cells, guides of planes and of rows, groups, strips that are cut off."""
    torch.manual_seed(seed)
    taps, high, wide = kernel**2, scale * h, scale * w
    logits = (2, groups * taps * scale**2, h, w) if shuffled else (2, groups, taps, high, wide)
    inputs = [torch.randn(2, groups * each, h, w), torch.randn(logits)]
    if mixes:
        guide = torch.randn(2, groups * each, high, wide)
        inputs += [guide.to(memory_format=torch.channels_last) if last else guide, torch.rand(2, 1, h, w)]

    def call(
        backend: str, x: Tensor, logits: Tensor, guide: Tensor | None = None, gate: Tensor | None = None
    ) -> Tensor:
        return ops.reassemble(x, logits, kernel, scale, guide=guide, gate=gate, backend=backend)

    agree(call, inputs, dtype)


@settings(max_examples=40, deadline=None)
@given(sizes, sizes, st.integers(1, 3), st.sampled_from([1, 3, 5]), st.sampled_from([1, 16, 35]), dtypes, seeds)
def test_attention_to_windows(
    h: int, w: int, scale: int, kernel: int, depth: int, dtype: torch.dtype, seed: int
) -> None:
    torch.manual_seed(seed)
    query, keys = torch.randn(2, depth, scale * h, scale * w) / depth**0.5, torch.randn(2, depth, h, w)
    agree(
        lambda backend, q, k, x: ops.attend_window(q, k, x, kernel, scale, backend=backend),
        [query, keys, torch.randn(2, 19, h, w)],
        dtype,
    )


@settings(max_examples=40, deadline=None)
@given(sizes, sizes, st.sampled_from([1, 3, 16, 40]), st.sampled_from([1, 16, 25, 70]), st.booleans(), dtypes, seeds)
def test_pointwise_convolutions(
    h: int, w: int, inputs: int, outputs: int, last: bool, dtype: torch.dtype, seed: int
) -> None:
    """Planes and rows, tiles of pixels and lanes of outputs that are cut off."""
    torch.manual_seed(seed)
    x = torch.randn(2, inputs, h, 5 * w)
    weight, bias = torch.randn(outputs, inputs, 1, 1) / inputs**0.5, torch.randn(outputs)

    def call(backend: str, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if backend == "fused":
            return project_fused(x, weight, bias)
        return nn.functional.conv2d(x, weight, bias)

    agree(call, [x.to(memory_format=torch.channels_last) if last else x, weight, bias], dtype)


def test_gradients_of_gradients() -> None:
    torch.manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=DOUBLE, requires_grad=True)

    x, logits, guide, gate = random(1, 1, 2, 1), random(1, 1, 9, 4, 2), random(1, 1, 4, 2), random(1, 1, 2, 1)
    assert torch.autograd.gradcheck(reassemble_fused, (x, logits, guide, gate, 3, 2))
    assert torch.autograd.gradgradcheck(reassemble_fused, (x, logits, guide, gate, 3, 2))
    query, keys = random(1, 1, 4, 2), random(1, 1, 2, 1)
    assert torch.autograd.gradgradcheck(attend_window_fused, (query, keys, x, 3))
    assert torch.autograd.gradgradcheck(project_fused, (x, random(2, 1, 1, 1), random(2)))


def test_without_the_kernels_the_steps_run_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    x, logits = torch.randn(1, 3, 4, 5), torch.randn(1, 1, 9, 8, 10)
    expected = ops.reassemble(x, logits, 3, 2, backend="fused")
    monkeypatch.setattr(window_kernels, "_kernels", None)
    found = ops.reassemble(x, logits, 3, 2, backend="fused")
    assert (found - expected).abs().max() <= 1e-5
    with pytest.raises(BackendError, match="must be one of"):
        ops.reassemble(x, logits, 3, 2, backend="quick")


@pytest.mark.parametrize("groups", [1, 25])
def test_a_convolution_of_float16_sums_in_float32(groups: int) -> None:
    layer = nn.Conv2d(25, 25, 3, padding=1, groups=groups)
    x = torch.randn(2, 25, 5, 6).half()
    expected = layer.half().double()(x.double()).detach()
    layer.half()
    inputs = x.requires_grad_()
    found = ops.convolution(layer, inputs, backend="fused")
    assert found.dtype == torch.float16
    assert (found - expected).abs().max() <= 1e-3 * expected.abs().max()
    (slope,) = torch.autograd.grad(found.float().sum(), inputs)
    assert slope.dtype == torch.float16
    assert slope.shape == x.shape
