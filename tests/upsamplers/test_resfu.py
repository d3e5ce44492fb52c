"""Laws of ReSFU: weights that sum to one, samples at the exact position, differences of paired neighbours."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import upbench
from upbench.errors import SpecError
from upbench.ops.box import box_mean
from upbench.ops.points import sample_window_assemble
from upbench.upsamplers.resfu import GuidedFilter, PairedCentralDifference

D = torch.float64


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def loop_neighbours(x: Tensor, weight: Tensor, kernel: int) -> Tensor:
    """The equation of `sample_window_assemble`, pixel by pixel and tap by tap. x: [C, H, W]; weight: [k^2, H', W']."""
    _, h, w = x.shape
    _, out_h, out_w = weight.shape
    out = torch.zeros(x.shape[0], out_h, out_w, dtype=x.dtype)
    for i in range(out_h):
        for j in range(out_w):
            for tap in range(kernel * kernel):
                y = (i + 0.5) * h / out_h - 0.5 + tap // kernel - kernel // 2
                z = (j + 0.5) * w / out_w - 0.5 + tap % kernel - kernel // 2
                y, z = min(max(y, 0), h - 1), min(max(z, 0), w - 1)
                top, left = min(int(y), h - 1), min(int(z), w - 1)
                bottom, right = min(top + 1, h - 1), min(left + 1, w - 1)
                upper = x[:, top, left] * (1 - z + left) + x[:, top, right] * (z - left)
                lower = x[:, bottom, left] * (1 - z + left) + x[:, bottom, right] * (z - left)
                out[:, i, j] += weight[tap, i, j] * (upper * (1 - y + top) + lower * (y - top))
    return out


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("sizes", [(5, 6, 10, 12), (5, 7, 7, 10), (4, 3, 10, 8), (1, 4, 2, 9), (3, 1, 3, 1)])
def test_sample_window_assemble_is_its_equation(sizes: tuple[int, int, int, int], kernel: int) -> None:
    h, w, out_h, out_w = sizes
    x, weight = torch.randn(2, 3, h, w, dtype=D), torch.randn(2, kernel**2, out_h, out_w, dtype=D)
    out = sample_window_assemble(x, weight, kernel)
    for n in range(2):
        torch.testing.assert_close(out[n], loop_neighbours(x[n], weight[n], kernel))


@pytest.mark.parametrize("sizes", [(1, 2, 3, 4, 6), (1, 3, 4, 4, 6), (2, 1, 3, 2, 4)])
def test_gradient_of_sample_window_assemble(sizes: tuple[int, ...]) -> None:
    """Those of samples clamped to the last row and column included, which the release loses."""
    batch, h, w, out_h, out_w = sizes
    x = torch.randn(batch, 2, h, w, dtype=D, requires_grad=True)
    weight = torch.randn(batch, 9, out_h, out_w, dtype=D, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: sample_window_assemble(a, b, 3), (x, weight))


@pytest.mark.parametrize("radius", [0, 1, 4])
@pytest.mark.parametrize("size", [(1, 1), (3, 7), (12, 5)])
def test_box_mean_is_a_convolution_with_ones_over_the_local_count(size: tuple[int, int], radius: int) -> None:
    x = torch.randn(2, 1, *size, dtype=D, requires_grad=True)
    ones = torch.ones(1, 1, 2 * radius + 1, 2 * radius + 1, dtype=D)
    count = F.conv2d(torch.ones_like(x), ones, padding=radius)
    torch.testing.assert_close(box_mean(x, radius), F.conv2d(x, ones, padding=radius) / count)
    assert torch.autograd.gradcheck(lambda a: box_mean(a, radius), (x,))


def test_box_mean_is_float32_under_autocast() -> None:
    x = torch.randn(1, 2, 6, 6)
    expected = box_mean(x, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(box_mean(x, 2), expected)


@pytest.mark.parametrize("subsample", [1, 2, 3])
def test_the_guided_filter_keeps_what_is_affine_in_the_guidance(subsample: int) -> None:
    guide = torch.randn(1, 2, 13, 11, dtype=D)
    smooth = GuidedFilter(2, radius=6, eps=1e-12, subsample=subsample)
    torch.testing.assert_close(smooth(guide, 3 * guide - 2), 3 * guide - 2, rtol=1e-6, atol=1e-6)


def test_the_guided_filter_of_a_flat_guidance_is_a_mean() -> None:
    source = torch.randn(1, 2, 9, 8, dtype=D)
    smooth = GuidedFilter(2, radius=3, eps=1e-3, subsample=1)
    expected = box_mean(box_mean(source, 3), 3)
    torch.testing.assert_close(smooth(torch.full_like(source, 7), source), expected)


def test_the_guided_filter_survives_half_precision() -> None:
    """A large mean with a small variance: in half precision the difference of the means would be noise."""
    guide = (20 + torch.randn(1, 1, 16, 16)).bfloat16()
    source = 0.5 * guide
    smooth = GuidedFilter(1, radius=4, eps=1e-3, subsample=1)
    torch.testing.assert_close(smooth(guide, source).float(), smooth(guide.float(), source.float()), rtol=1e-2, atol=0)


def test_scores_are_of_differences() -> None:
    """Equal and constant key and query give the scores of a zero difference, the same everywhere, for any values."""
    block = PairedCentralDifference(8, groups=2, kernel=3, dilation=2, norm_groups=4)
    flat, other = torch.full((1, 8, 6, 7), 3.0), torch.randn(1, 8, 1, 1).expand(1, 8, 6, 7)
    for same in (flat, other):
        scores = block(same, same)
        torch.testing.assert_close(scores, scores[:, :, :1, :1].expand_as(scores), rtol=0, atol=1e-5)
        torch.testing.assert_close(scores, block(flat, flat), rtol=0, atol=1e-4)


def test_scores_read_neighbours_at_the_dilation() -> None:
    block = PairedCentralDifference(8, groups=2, kernel=3, dilation=3, norm_groups=4).double()
    block.norm = torch.nn.Identity()
    key = torch.randn(1, 8, 12, 12, dtype=D, requires_grad=True)
    block(key, torch.randn(1, 8, 12, 12, dtype=D))
    around = F.conv2d(F.pad(key, (3, 3, 3, 3), mode="replicate"), block.weight, dilation=3, groups=2)
    around[0, :, 5, 5].sum().backward()
    assert key.grad is not None
    assert key.grad[0].abs().sum((0, 2)).nonzero().flatten().tolist() == [2, 5, 8]


@pytest.mark.parametrize("scale", [1, 1.5, 2, 2.7, 3])
def test_a_constant_map_stays_constant_to_the_border(scale: float) -> None:
    module = upbench.build("resfu", 32, scale, guide_channels=20)
    for parameter in module.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    guide = torch.randn(2, 20, math.floor(5 * scale), math.floor(7 * scale))
    x = torch.randn(2, 32, 1, 1).expand(2, 32, 5, 7)
    torch.testing.assert_close(module(x, guide), x[:, :, :1, :1].expand(2, 32, *guide.shape[2:]))


def test_neighbours_outside_the_output_are_left_out() -> None:
    module = upbench.build("resfu", 32, 2)
    weights = module.weights(torch.randn(1, 32, 4, 5), torch.randn(1, 32, 8, 10)).view(3, 3, 8, 10)
    torch.testing.assert_close(weights.sum((0, 1)), torch.ones(8, 10))
    for row in range(8):
        for column in range(10):
            for y in range(3):
                for x in range(3):
                    inside = 0 <= row + 2 * (y - 1) < 8 and 0 <= column + 2 * (x - 1) < 10
                    assert (weights[y, x, row, column] > 0) == inside


def test_a_lone_centre_is_bilinear_interpolation() -> None:
    """With k_up 1 the only neighbour is the position itself."""
    x, guide = torch.randn(2, 32, 5, 7), torch.randn(2, 32, 7, 10)
    out = upbench.build("resfu", 32, 1.5, k_up=1)(x, guide)
    torch.testing.assert_close(out, F.interpolate(x, size=(7, 10), mode="bilinear"), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("scale", "dilation"), [(1, 1), (1.25, 1), (1.5, 2), (2, 2), (2.5, 3), (4, 4)])
def test_the_dilation_is_the_rounded_scale(scale: float, dilation: int) -> None:
    assert upbench.build("resfu", 32, scale).dilation == dilation


def test_biases_of_the_first_norms_have_no_effect() -> None:
    module = upbench.build("resfu", 32, 2).double()
    x, guide = torch.randn(1, 32, 4, 5, dtype=D), torch.randn(1, 32, 8, 10, dtype=D)
    before = module(x, guide)
    module.semantic_scores.norm.bias.data += torch.randn(32)
    module.detail_scores.norm.bias.data += torch.randn(32)
    torch.testing.assert_close(module(x, guide), before)


@pytest.mark.parametrize("channels", [5, 31, 32, 96])
def test_norms_take_fewer_than_32_channels_or_multiples(channels: int) -> None:
    module = upbench.build("resfu", channels, 2, guide_channels=48, norm=False)
    assert module(torch.randn(1, channels, 3, 4), torch.randn(1, 48, 6, 8)).shape == (1, channels, 6, 8)
    assert upbench.build("resfu", channels, 2).norm_x.num_groups == min(32, channels)


def test_groups_that_do_not_divide_are_refused_all_together() -> None:
    with pytest.raises(SpecError) as caught:
        upbench.build("resfu", 48, 2, guide_channels=32, groups=3, gn_groups=5)
    mistakes = "\n".join(caught.value.mistakes)
    assert "params.groups is 3, which does not divide embedding (32)" in mistakes
    assert "params.gn_groups is 5" in mistakes
    assert "channels is 48" in mistakes
    assert "set params.norm to false" in mistakes


def test_norm_groups_must_divide_the_hidden_channels_too() -> None:
    with pytest.raises(SpecError, match=r"params.gn_groups is 6, which does not divide the hidden channels \(128\)"):
        upbench.build("resfu", 32, 2, embedding=24, gn_groups=6)
