"""Laws of FADE: what its kernels and its gate do to maps whose result can be said beforehand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import upbench
from upbench.errors import SpecError
from upbench.ops.gating import gate_fuse
from upbench.upsamplers.fade import H2L

NAMES = ("fade", "fade-lite")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def zeroed(name, channels=4, guide_channels=None, **params):
    """A module of which every weight and bias is zero: uniform kernels, a gate of one half."""
    module = upbench.build(name, channels, 2, guide_channels, **params)
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_uniform_kernels_keep_a_constant_inside_and_lose_the_taps_outside(name):
    out = zeroed(name, gate=False)(torch.ones(1, 4, 7, 6), torch.randn(1, 4, 14, 12))
    # Taps of a 5-wide window that lie on the map, for each parent row and column.
    rows = torch.tensor([3, 4, 5, 5, 5, 4, 3]).repeat_interleave(2)
    columns = torch.tensor([3, 4, 5, 5, 4, 3]).repeat_interleave(2)
    expected = rows.view(-1, 1) * columns / 25
    torch.testing.assert_close(out, expected.expand(1, 4, -1, -1))


@pytest.mark.parametrize("name", NAMES)
def test_the_shared_bias_counts_twice(name):
    module = zeroed(name, k_up=3, gate=False)
    bias = torch.randn(9)
    module.ker_generator.content_encoder.bias.data.copy_(bias)
    x = torch.zeros(1, 4, 5, 5)
    x[:, :, 2, 2] = 1
    # A pixel of value one shows, in the window of each neighbour, the weight of the tap that reaches it.
    weights = F.softmax(2 * bias, 0).view(3, 3).flip(0, 1)
    out = module(x, torch.randn(1, 4, 10, 10))
    seen = weights.repeat_interleave(2, 0).repeat_interleave(2, 1)
    torch.testing.assert_close(out[:, :, 2:8, 2:8], seen.expand(1, 4, 6, 6))


@pytest.mark.parametrize("name", NAMES)
def test_the_encoder_moves_single_pixels_and_the_decoder_whole_parents(name):
    module = upbench.build(name, 4, 2, seed=0, gate=False)
    x, guide = torch.randn(1, 4, 9, 9), torch.randn(1, 4, 18, 18)
    logits = module.ker_generator(guide, x)
    near_guide, near_x = guide.clone(), x.clone()
    near_guide[:, :, 9, 9] += 1
    near_x[:, :, 4, 4] += 1
    changed = (module.ker_generator(near_guide, x) - logits).abs().sum((0, 1)) > 0
    assert changed.nonzero().min(0).values.tolist() == [8, 8]
    assert changed.sum() == 9
    changed = (module.ker_generator(guide, near_x) - logits).abs().sum((0, 1)) > 0
    assert changed.nonzero().min(0).values.tolist() == [6, 6]
    assert changed.sum() == 36


@pytest.mark.parametrize("bias", [-100.0, 0.0, 100.0])
def test_the_gate_mixes_guide_and_output(bias):
    gated, plain = zeroed("fade"), zeroed("fade", gate=False)
    gated.gate_generator.conv.bias.data.fill_(bias)
    x, guide = torch.randn(2, 4, 3, 5), torch.randn(2, 4, 6, 10)
    g = torch.sigmoid(torch.tensor(bias))
    torch.testing.assert_close(gated(x, guide), g * guide + (1 - g) * plain(x, guide))


def test_the_gate_has_one_value_for_the_four_children_of_a_pixel():
    module = zeroed("fade")
    nn.init.ones_(module.gate_generator.conv.weight)
    x = torch.randn(1, 4, 3, 5)
    guide = torch.full((1, 4, 6, 10), 1e6)  # so large that only the gate shows
    gate = module(x, guide)[:, :1] / 1e6
    expected = F.interpolate(x.sum(1, keepdim=True).sigmoid(), scale_factor=2)
    torch.testing.assert_close(gate, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_gate_needs_equal_channels_and_says_what_to_do(name):
    with pytest.raises(SpecError, match=r"guide_channels is 6.*\(4\).*params.gate to false.*1x1 convolution"):
        upbench.build(name, 4, 2, guide_channels=6)
    module = upbench.build(name, 4, 2, guide_channels=6, gate=False)
    assert module(torch.randn(1, 4, 3, 2), torch.randn(1, 6, 6, 4)).shape == (1, 4, 6, 4)


@pytest.mark.parametrize("name", NAMES)
def test_scale_is_two(name):
    with pytest.raises(SpecError, match="scale 2 only"):
        upbench.build(name, 4, 4)


def test_h2l_weights_are_taken():
    module = upbench.build("fade", 4, 2, seed=0)
    expected = {key: torch.randn_like(value) for key, value in module.state_dict().items()}
    theirs = {ours: key for key, ours in H2L.items()}
    upbench.load_weights(module, {theirs.get(key, key): value for key, value in expected.items()})
    for key, value in module.state_dict().items():
        assert torch.equal(value, expected[key])


def test_gradient_of_the_gate():
    tensors = [torch.randn(2, c, 4, 6, dtype=torch.float64, requires_grad=True) for c in (3, 3, 1)]
    assert torch.autograd.gradcheck(gate_fuse, tensors)
