"""Fused cosines of neighbours against the eager form, forward and backward, by the C kernel and without it, and on Triton."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ops.test_cell_attention import form, made_of
from tests.ops.test_fused import agree
from upbench.ops import thresholds
from upbench.ops.fused_local_similarity import local_similarity_fused
from upbench.ops.local_similarity import local_similarity, neighbour_cosines

few = settings(max_examples=15, deadline=None)
DOUBLE = torch.float64


@made_of
@few
@given(
    st.integers(1, 9),
    st.sampled_from([1, 2, 5, 9, 37, 41, 70]),
    st.integers(1, 3),
    st.integers(1, 5),
    st.sampled_from([3, 5, 9]),
    st.integers(1, 3),
    st.booleans(),
    st.integers(0, 2**16),
)
def test_every_size_window_and_step(
    made_of: str, h: int, w: int, batch: int, channels: int, kernel: int, dilation: int, last: bool, seed: int
) -> None:
    """Rows shorter and longer than what the kernel takes at once, windows larger than the map, either memory order."""
    torch.manual_seed(seed)
    x = torch.randn(batch, channels, h, w, dtype=DOUBLE)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    with form(made_of), thresholds.for_smaller_maps(3000.0):
        agree(
            lambda x: local_similarity(x, kernel, dilation),
            lambda x: local_similarity(x, kernel, dilation, backend="fused"),
            (x,),
        )


@made_of
def test_pixels_of_no_length(made_of: str) -> None:
    """A pixel of zeros has a cosine of 0 and passes no gradient to its norm; one next to zero is divided by the least norm."""
    torch.manual_seed(0)
    x = torch.randn(1, 3, 6, 40, dtype=DOUBLE)
    x[:, :, 2, 3], x[:, :, 3, 20:] = 0, 1e-12
    with form(made_of):
        leaves = [x.clone().requires_grad_() for _ in range(2)]
        outs = [
            local_similarity(leaf, 3, 2, backend=name) for leaf, name in zip(leaves, ("eager", "fused"), strict=True)
        ]
        torch.testing.assert_close(outs[1], outs[0], rtol=1e-9, atol=1e-12)
        grad = torch.randn_like(outs[0])
        slopes = [torch.autograd.grad(out, leaf, grad)[0] for out, leaf in zip(outs, leaves, strict=True)]
        torch.testing.assert_close(slopes[1], slopes[0], rtol=1e-9, atol=1e-9)


@made_of
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(made_of: str, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    x = torch.randn(2, 8, 7, 50).to(dtype).requires_grad_()
    with form(made_of):
        found = local_similarity(x, 3, 2, backend="fused")
        slope = torch.autograd.grad(found.float().sum(), x)[0]
    assert found.dtype == slope.dtype == dtype
    exact = neighbour_cosines(x.detach().float(), 3, 2)
    torch.testing.assert_close(found.detach(), exact.to(dtype), rtol=2 * torch.finfo(dtype).eps, atol=1e-6)


def test_gradients_against_differences() -> None:
    """And the gradients of gradients."""
    torch.manual_seed(2)
    x = torch.randn(1, 2, 4, 5, dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: local_similarity_fused(x, 3, 2), x)
    assert torch.autograd.gradgradcheck(lambda x: local_similarity_fused(x, 3, 1), x)


@pytest.mark.parametrize("name", ["local_similarity_fused", "local_similarity_slope_fused"])
def test_torch_accepts_the_registration(name: str) -> None:
    x, grad, alike = torch.randn(2, 4, 6, 8), torch.randn(2, 8, 6, 8), torch.rand(2, 8, 6, 8)
    arguments = (x.requires_grad_(), 3, 2) if name == "local_similarity_fused" else (grad, x, alike, 3, 2)
    results = torch.library.opcheck(getattr(torch.ops.upbench, name).default, arguments)
    assert set(results.values()) == {"SUCCESS"}
