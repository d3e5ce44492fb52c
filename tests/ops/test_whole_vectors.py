"""LDA-AQU in inference where its channels fill the vectors of the kernels: its predictor, and what norms and projects a map of bfloat16."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import upbench
from upbench.ops.cpu import native, normed

built = pytest.mark.skipif(native._kernels is None, reason="upbench was installed without a C compiler")
seeds = st.integers(0, 2**16)


@built
@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.integers(1, 13), st.integers(1, 13)),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([1, 3, 5]),
    st.sampled_from([1.5, 2.0, 3.0]),
    st.sampled_from([torch.float32, torch.float64]),
    seeds,
)
def test_the_predictor(
    size: tuple[int, int], groups: int, k_e: int, scale: float, dtype: torch.dtype, seed: int
) -> None:
    """Groups of one vector and of more, tiles at every border; inner norms far from one and zero."""
    module = upbench.build("ldaaqu", 256, scale, seed=0, groups=groups, k_e=k_e, k_u=3).to(dtype).eval()
    generator, found = torch.Generator().manual_seed(seed), []
    module.set_offsets("trained", generator)
    with torch.inference_mode():
        for parameter in module.conv_offset[1].parameters():
            parameter += 0.5 * torch.randn(parameter.shape, generator=generator)
        x = torch.randn(1, 256, *size, generator=generator, dtype=dtype)
        for module.backend in ("eager", "fused"):
            found.append(module(x))
    tolerance = (
        1e-9 if dtype == torch.float64 else 1e-3
    )  # of an offset its rounding is up to eleven pixels times as large
    assert (found[1] - found[0]).abs().max() <= tolerance * found[0].abs().max()


@pytest.mark.skipif(not native.adds_products(), reason="this CPU adds no products of bfloat16")
@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 2),
    st.tuples(st.integers(1, 9), st.integers(1, 40)),
    st.sampled_from([(64, 1), (96, 1), (128, 2), (256, 2)]),
    st.sampled_from([0.0, torch.inf, torch.nan]),
    seeds,
)
def test_a_normed_map_of_bfloat16(
    b: int, size: tuple[int, int], parts: tuple[int, int], spoilt: float, seed: int
) -> None:
    """Values are what was given; queries are sums of whole numbers, but of tiles with what is no number."""
    torch.manual_seed(seed)
    channels, blocks = parts
    x = (torch.randn(b, channels, *size) * torch.rand(channels, 1, 1) * 9 + torch.randn(channels, 1, 1)).bfloat16()
    if spoilt:
        x[0, 5, 0, 0] = spoilt
    scale, shift, depth = torch.randn(channels), torch.randn(channels), 32 * blocks
    weight = torch.randn(2 * depth, channels).bfloat16().float()
    values, queries, keys = normed.run(x, scale, shift, 1e-5, weight, blocks)
    assert values is not None
    assert torch.equal(values.permute(0, 1, 4, 2, 3).reshape(x.shape).nan_to_num(), x.nan_to_num())
    rows = F.layer_norm(x.double().permute(0, 2, 3, 1), (channels,), scale.double(), shift.double(), 1e-5)
    expected = (rows @ weight.double().t()).permute(0, 3, 1, 2).split(depth, 1)
    made = queries, keys.permute(0, 1, 4, 2, 3).flatten(1, 2)
    for found, wanted, tolerance in zip(made, expected, (1e-3, 2e-2), strict=True):
        known = wanted.isfinite()
        assert torch.equal(found.isfinite(), known)
        assert not known.any() or (found - wanted)[known].abs().max() <= tolerance * wanted[known].abs().max()
