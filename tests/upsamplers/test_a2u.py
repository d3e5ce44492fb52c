"""Laws of A2U: kernels close to a box, from the guide alone, a pair of filters per sample."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import upbench
from upbench.errors import SpecError, WeightsError
from upbench.ops.affinity import affinity_logits
from upbench.ops.backend_fused import unsupported_reason
from upbench.ops.cpu import affinity as fused_affinity
from upbench.ops.cpu import map_kernels
from upbench.ops.cpu.affinity import pool_both

# The softmax over nine sigmoids: one of them 1 and the others 0, or the other way round.
LOWEST, HIGHEST = 1 / (1 + 8 * math.e), math.e / (math.e + 8)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_affinity_logits_is_its_equation() -> None:
    first, second, pattern = torch.randn(2, 4, 3, 5), torch.randn(2, 4, 3, 5), torch.randn(2, 6, 1, 1)
    expected = torch.einsum("bchw,bchw,bt->bthw", first, second, pattern.flatten(1)) / 2
    torch.testing.assert_close(affinity_logits(first, second, pattern), expected)


def test_gradient_of_affinity_logits() -> None:
    shapes = ((2, 3, 2, 2), (2, 3, 2, 2), (2, 4, 1, 1))
    tensors = tuple(torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    assert torch.autograd.gradcheck(affinity_logits, tensors)


def test_no_weight_leaves_its_range() -> None:
    """However strong the affinity. The range is reached, so a narrower one would be wrong too."""
    module = upbench.build("a2u", 32)
    module.kernel_gen.bconv_UP[1].weight.data *= 1e4
    kernels = module.kernel_gen(torch.randn(2, 32, 12, 16))
    torch.testing.assert_close(kernels.sum(2), torch.ones(2, 1, 12, 16))
    assert kernels.min() >= LOWEST - 1e-6
    assert kernels.max() <= HIGHEST + 1e-6
    module.kernel_gen.bconv_UP[1].weight.data.zero_()
    module.kernel_gen.bconv_UP[1].bias.data = torch.full((9, 4), -1e6).index_fill(0, torch.tensor(4), 1e6).flatten()
    kernels = module.kernel_gen(torch.randn(2, 32, 12, 16))
    assert kernels.min().item() == pytest.approx(LOWEST, rel=1e-4)
    assert kernels.max().item() == pytest.approx(HIGHEST, rel=1e-4)


def test_a_constant_stays_inside_and_loses_the_outside_at_the_border() -> None:
    module = upbench.build("a2u", 3, guide_channels=32)
    guide = torch.randn(1, 32, 10, 14)
    kernels = module.kernel_gen(guide)[0, 0].view(3, 3, 10, 14)
    out = module(torch.ones(1, 3, 5, 7), guide)[0]
    torch.testing.assert_close(out[:, 2:-2, 2:-2], torch.ones(3, 6, 10))
    torch.testing.assert_close(out[:, 0, 0], kernels[1:, 1:, 0, 0].sum().expand(3))
    torch.testing.assert_close(out[:, -1, 4], kernels[:2, :, -1, 4].sum().expand(3))


@pytest.mark.parametrize(("k_up", "k_enc"), [(3, 6), (5, 5), (1, 2)])
def test_kernels_are_their_definition(k_up: int, k_enc: int) -> None:
    """Sample by sample and channel by channel, with plain convolutions."""
    module = upbench.build("a2u", 32, k_up=k_up, k_enc=k_enc).double()
    net, guide = module.kernel_gen, torch.randn(3, 32, 6, 10, dtype=torch.float64)
    kernels = net(guide)
    for n in range(3):
        sample = guide[n : n + 1]
        features = []
        for layers, norm in ((net.bconv_U, net.bnu), (net.bconv_V, net.bnv)):
            kernel = layers[1](F.adaptive_avg_pool2d(sample, k_enc))
            filtered = [F.conv2d(c, kernel, stride=2, padding=(k_enc - 1) // 2) for c in sample.split(1, 1)]
            features.append(F.leaky_relu(norm[0](torch.cat(filtered, 1)), 0.01))
        affinity = (features[0] * features[1]).sum(1) / 32**0.5
        pattern = net.bconv_UP[1](sample.mean((2, 3), keepdim=True)).view(k_up**2, 2, 2)
        # [taps, a, b], [H, W] -> [taps, H, a, W, b]
        logits = torch.einsum("tab,hw->thawb", pattern, affinity[0]).reshape(k_up**2, 6, 10)
        torch.testing.assert_close(kernels[n, 0], logits.sigmoid().softmax(0))


def test_the_kernels_do_not_see_x() -> None:
    module = upbench.build("a2u", 5, guide_channels=32)
    x, guide = torch.randn(2, 5, 3, 5), torch.randn(2, 32, 6, 10)
    torch.testing.assert_close(module(-3 * x, guide), -3 * module(x, guide))


@pytest.mark.parametrize("prefix", ["", "kernel_gen."])
def test_weights_with_a_downsampling_branch_load(prefix: str) -> None:
    """The original model has no prefix and a bconv_DP; A2UUpRaw has both."""
    source, module = upbench.build("a2u", 32, seed=1), upbench.build("a2u", 32, seed=2)
    state = {key.replace("kernel_gen.", prefix): value for key, value in source.state_dict().items()}
    state |= {f"{prefix}bconv_DP.1.weight": torch.randn(36, 32, 1, 1), f"{prefix}bconv_DP.1.bias": torch.randn(36)}
    upbench.load_weights(module, state)
    x, guide = torch.randn(1, 32, 3, 5), torch.randn(1, 32, 6, 10)
    assert torch.equal(module(x, guide), source(x, guide))
    with pytest.raises(WeightsError, match="bconv_U"):
        upbench.load_weights(module, {key: value for key, value in state.items() if "bconv_U." not in key})


def test_a_guide_that_32_groups_do_not_divide_is_refused() -> None:
    upbench.build("a2u", 20, guide_channels=64)
    with pytest.raises(SpecError, match=r"guide_channels is 48.*to 64 channels by a 1x1 convolution"):
        upbench.build("a2u", 32, guide_channels=48)


@pytest.mark.parametrize("made_of", ["c", "torch"])
@pytest.mark.parametrize("size", [(6, 8), (3, 6), (5, 7), (1, 2)])
@pytest.mark.parametrize(("k_up", "k_enc"), [(3, 6), (5, 5), (1, 2)])
def test_the_fused_generator_agrees(
    size: tuple[int, int], k_up: int, k_enc: int, made_of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every block of pixels, filters of odd side, pooling that does and does not divide; a guide far from zero mean."""
    if made_of == "torch":
        monkeypatch.setattr(map_kernels, "_kernels", None)
    module = upbench.build("a2u", 64, k_up=k_up, k_enc=k_enc).double()
    for parameter in module.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    guide = torch.randn(2, 64, 2 * size[0], 2 * size[1], dtype=torch.float64) + 3 * torch.rand(64, 1, 1)
    with torch.no_grad():
        for order in (torch.contiguous_format, torch.channels_last):
            given = guide.contiguous(memory_format=order)
            torch.testing.assert_close(module.kernel_gen.logits(given, "fused"), module.kernel_gen.logits(given))


@pytest.mark.parametrize("made_of", ["c", "torch"])
def test_pool_both_is_two_poolings(made_of: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if made_of == "torch":
        monkeypatch.setattr(map_kernels, "_kernels", None)
    guide = torch.randn(2, 3, 12, 18)
    grid, point = pool_both(guide, 6)
    torch.testing.assert_close(grid, F.adaptive_avg_pool2d(guide, 6))
    torch.testing.assert_close(point, F.adaptive_avg_pool2d(guide, 1))


@pytest.mark.parametrize("width", [12, 24, 36, 252, 516])
def test_pools_of_bfloat16_are_rounded_once(width: int) -> None:
    guide = (3 + torch.randn(2, 3, 12, width)).bfloat16()
    grid, point = pool_both(guide, 6)
    torch.testing.assert_close(grid, F.adaptive_avg_pool2d(guide.double(), 6).bfloat16(), rtol=2**-7, atol=0)
    torch.testing.assert_close(point, F.adaptive_avg_pool2d(guide.double(), 1).bfloat16(), rtol=2**-7, atol=0)


@pytest.mark.skipif(map_kernels._kernels is None, reason="the C kernels were not built here")
@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 19),
    st.integers(1, 70),
    st.integers(1, 7),
    st.sampled_from([1, 2, 8]),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    st.integers(0, 2**16),
)
def test_the_kernel_of_affinities_is_the_convolution(
    h: int, w: int, kernel: int, each: int, dtype: torch.dtype, seed: int
) -> None:
    """Of every side of a filter, rows of all lengths, and channels of a group whose means lie far apart.

    The filters are of the guide's dtype, in which some CPUs multiply both.
    """
    torch.manual_seed(seed)
    guide = (torch.randn(4 * each, 2 * h, 2 * w) + 5 * torch.randn(4 * each, 1, 1)).to(dtype)
    exact = [torch.randn(shape, dtype=torch.float64) for shape in ((2, kernel, kernel), (4 * each, 2), (4 * each, 2))]
    exact[0] = exact[0].to(dtype)
    layers = [t.to(torch.promote_types(dtype, torch.float32)) for t in exact]
    found = fused_affinity._sums_native(guide, *layers, 4, 1e-2, 0.01)
    expected = fused_affinity._sums(guide.double(), *(t.double() for t in layers), 4, 1e-2, 0.01)
    limit = 1e-9 if dtype == torch.float64 else 1e-4
    assert (found - expected).abs().max() <= limit * expected.abs().max()


def test_the_generator_is_fused_with_gradients_too_but_not_under_autocast() -> None:
    module = upbench.build("a2u", 32)
    guide = torch.randn(1, 32, 8, 8)
    generator = module.kernel_gen
    layers = (generator.bconv_U, generator.bconv_V, generator.bnu, generator.bnv, generator.bconv_UP)

    def fuses(guide: torch.Tensor) -> bool:
        return unsupported_reason("kernel_affinity", guide, *layers) is None

    assert fuses(guide)
    with torch.no_grad():
        assert fuses(guide)
        assert not fuses(guide[:, :, :2, :2])
        with torch.autocast("cpu", torch.bfloat16):
            assert not fuses(guide)


def test_torch_accepts_the_registration_of_the_fused_generator() -> None:
    guide, shift = torch.randn(2, 32, 8, 12), torch.randn(32, 2)
    filters, pattern = torch.randn(2, 2, 6, 6), torch.randn(2, 36, 1, 1)
    found = {}
    for op, arguments in (
        (torch.ops.upbench.pool_both_fused.default, (guide, 3)),
        (torch.ops.upbench.affinity_fused.default, (guide, filters, shift, shift, pattern, 32, 1e-5, 0.01)),
    ):
        found |= {(op, k): v for k, v in torch.library.opcheck(op, arguments).items()}
    assert set(found.values()) == {"SUCCESS"}
