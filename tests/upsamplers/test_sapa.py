"""Laws of SAPA: borders, out-of-map taps and points, and the identities between its variants and plain resampling."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import upbench
from upbench.errors import InputError, SpecError
from upbench.ops.window import window_similarity


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def loop_similarity(query, keys, kernel, scale):
    """Equation 6 with a loop over every output pixel and tap."""
    b, _, h, w = keys.shape
    logits = torch.zeros(b, kernel * kernel, h * scale, w * scale, dtype=keys.dtype)
    for i in range(h * scale):
        for j in range(w * scale):
            for t in range(kernel * kernel):
                y, x = i // scale + t // kernel - kernel // 2, j // scale + t % kernel - kernel // 2
                if 0 <= y < h and 0 <= x < w:
                    logits[:, t, i, j] = (query[:, :, i, j] * keys[:, :, y, x]).sum(1)
    return logits


@pytest.mark.parametrize(
    ("height", "width", "kernel", "scale"), [(3, 5, 3, 2), (1, 4, 5, 3), (5, 2, 1, 1), (4, 3, 5, 2)]
)
def test_window_similarity_is_its_equation(height, width, kernel, scale):
    keys = torch.randn(2, 4, height, width, dtype=torch.float64)
    query = torch.randn(2, 4, height * scale, width * scale, dtype=torch.float64)
    expected = loop_similarity(query, keys, kernel, scale)
    torch.testing.assert_close(window_similarity(query, keys, kernel, scale), expected)


def test_gradient_of_window_similarity():
    keys = torch.randn(2, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    query = torch.randn(2, 3, 6, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda q, k: window_similarity(q, k, 3, 2), (query, keys))


@pytest.mark.parametrize("logit", [-2.0, 0.0, 3.0])
def test_taps_outside_keep_their_share_of_the_softmax(logit):
    """A constant map keeps n e^a / (n e^a + 25 - n), where n taps of the window, of logit a, lie on it."""
    channels = 4
    guide = torch.full((1, channels, 14, 12), logit / channels)
    out = upbench.build("sapa-i", channels, 2)(torch.ones(1, channels, 7, 6), guide)
    for row, column, n in ((0, 0, 9), (13, 11, 9), (0, 5, 15), (3, 3, 16), (6, 5, 25)):
        kept = n * math.exp(logit) / (n * math.exp(logit) + 25 - n)
        torch.testing.assert_close(out[0, :, row, column], torch.full((channels,), kept))


def test_the_bias_of_the_key_is_not_seen_outside_the_map():
    module = upbench.build("sapa-b", 4, 2, norm=False, embedding=2)
    for layer in (module.q, module.k):
        nn.init.zeros_(layer.weight)
        nn.init.ones_(layer.bias)
    out = module(torch.ones(1, 4, 5, 5), torch.randn(1, 4, 10, 10))
    kept = 9 * math.exp(2) / (9 * math.exp(2) + 16)
    torch.testing.assert_close(out[0, :, 0, 0], torch.full((4,), kept))


def test_sapa_b_with_identity_projections_is_sapa_i():
    module = upbench.build("sapa-b", 4, 3, norm=False, bias=False, embedding=4, k_up=3)
    for layer in (module.q, module.k):
        layer.weight.data = torch.eye(4).view(4, 4, 1, 1)
    x, guide = torch.randn(2, 4, 3, 5), torch.randn(2, 4, 9, 15)
    torch.testing.assert_close(module(x, guide), upbench.build("sapa-i", 4, 3, k_up=3)(x, guide))


def test_the_values_are_not_normalised():
    module = upbench.build("sapa-b", 32, 2, seed=0)
    x, guide = torch.randn(1, 32, 5, 5), torch.randn(1, 32, 10, 10)
    # Group norm takes the factor out of the weights, so that all of it must be in the result.
    torch.testing.assert_close(module(1000 * x, guide), 1000 * module(x, guide), rtol=1e-3, atol=1)


def dynamic(channels=8, scale=2, **params):
    """A SAPA-D whose offsets are its offset biases, all zero."""
    module = upbench.build("sapa-d", channels, scale, seed=0, **params)
    nn.init.zeros_(module.offset.weight)
    return module


@pytest.mark.parametrize("dof", ["s2", 1])
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_points_at_the_origin_are_nearest_interpolation(scale, dof):
    x, guide = torch.randn(2, 8, 3, 5), torch.randn(2, 8, 3 * scale, 5 * scale)
    expected = F.interpolate(x, scale_factor=scale)
    torch.testing.assert_close(dynamic(scale=scale, dof=dof)(x, guide), expected)


def test_each_group_moves_its_own_channels_x_before_y():
    """One point, dof 1: group 0 reads one column to the right, group 1 half a row below; outside reads zero."""
    module = dynamic(points=1, groups=2, dof=1)
    module.offset.bias.data = torch.tensor([1.0, 0.0, 0.0, 0.5])
    x, guide = torch.randn(1, 8, 4, 5), torch.randn(1, 8, 8, 10)
    right = F.pad(x[:, :4], (0, 1))[..., 1:]
    below = (x[:, 4:] + F.pad(x[:, 4:], (0, 0, 0, 1))[..., 1:, :]) / 2
    torch.testing.assert_close(module(x, guide), F.interpolate(torch.cat((right, below), 1), scale_factor=2))


def test_dof_s2_moves_each_child_by_itself():
    """One point, one group: only the child at the bottom left moves, one row up. Sub-pixels run fastest."""
    module = dynamic(points=1, groups=1)
    module.offset.bias.data.view(2, 2, 2)[1, 1, 0] = -1
    x, guide = torch.randn(1, 8, 4, 5), torch.randn(1, 8, 8, 10)
    expected = F.interpolate(x, scale_factor=2)
    expected[:, :, 1::2, 0::2] = F.pad(x, (0, 0, 1, 0))[:, :, :-1]
    torch.testing.assert_close(module(x, guide), expected)


def test_a_point_outside_the_map_has_logit_zero_and_value_zero():
    """Two points, one far outside: what remains of a one is e^a / (e^a + 1)."""
    module = dynamic(points=2, groups=1, embedding=1)
    module.offset.bias.data = torch.tensor([0.0, 0.0, 99.0, 99.0]).repeat_interleave(4)
    for layer in (module.q, module.k):
        nn.init.zeros_(layer.weight)
        nn.init.constant_(layer.bias, 1.5)
    out = module(torch.ones(1, 8, 3, 3), torch.randn(1, 8, 6, 6))
    torch.testing.assert_close(out, torch.full_like(out, math.exp(2.25) / (math.exp(2.25) + 1)))


def test_unequal_channels_of_sapa_i_name_sapa_b():
    with pytest.raises(SpecError, match=r"guide_channels is 6.*\(4\).*use sapa-b"):
        upbench.build("sapa-i", 4, 2, guide_channels=6)


@pytest.mark.parametrize("name", ["sapa-b", "sapa-d"])
def test_norm_needs_multiples_of_32_and_names_each_that_is_not(name):
    with pytest.raises(SpecError) as caught:
        upbench.build(name, 48, 2, guide_channels=20, norm=True)
    channels, guide = caught.value.mistakes
    assert channels.startswith("channels is 48")
    assert guide.startswith("guide_channels is 20")
    assert all("params.norm to false" in sentence for sentence in (channels, guide))


def test_what_is_compared_must_have_one_dtype() -> None:
    module = upbench.build("sapa-i", 32)
    x, guide = torch.randn(1, 32, 4, 4), torch.randn(1, 32, 8, 8)
    with pytest.raises(InputError, match="a query with keys, which must have one dtype, but are float32 and float16"):
        module(x.half(), guide)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # the way out that the message names
        assert module(x.bfloat16(), guide).shape == (1, 32, 8, 8)
    assert module(x.half(), guide.half()).dtype == torch.float16
