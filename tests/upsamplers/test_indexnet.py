"""Laws of IndexNet: indices are sigmoids of the guide alone, and sub-pixels stand where they were read."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import upbench
from upbench.errors import SpecError
from upbench.ops.gating import modulate

KINDS = ("hin", "o2o", "m2o")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("index_channels", [1, 3])
@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_modulate_scales_the_nearest_pixel(scale: int, index_channels: int, layout: torch.memory_format) -> None:
    x = torch.randn(2, 3, 5, 1).contiguous(memory_format=layout)
    index = torch.rand(2, index_channels, 5 * scale, scale).contiguous(memory_format=layout)
    torch.testing.assert_close(modulate(x, index, scale), index * F.interpolate(x, scale_factor=scale))


@pytest.mark.parametrize("index_channels", [1, 2])
def test_gradient_of_modulate(index_channels: int) -> None:
    x = torch.randn(2, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    index = torch.randn(2, index_channels, 4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: modulate(a, b, 2), (x, index))


@pytest.mark.parametrize("kind", KINDS)
def test_without_evidence_the_map_is_halved(kind: str) -> None:
    module = upbench.build("indexnet", 4, kind=kind)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.zeros_(layer.weight)
    x = torch.randn(2, 4, 3, 5)
    torch.testing.assert_close(module(x, torch.randn(2, 4, 6, 10)), F.interpolate(x, scale_factor=2) / 2)


@pytest.mark.parametrize("kind", KINDS)
def test_indices_are_sigmoids_that_do_not_sum_to_one(kind: str) -> None:
    """A softmax over the four sub-pixels could not be above one half at all of them."""
    module = upbench.build("indexnet", 4, kind=kind, nonlinear=False, context=False)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.ones_(layer.weight)
    index = module.index(torch.rand(1, 4, 6, 6) + 0.1)
    assert ((index > 0.5) & (index < 1)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_each_sub_pixel_has_its_own_branch(kind: str) -> None:
    """Without context a branch that reads nothing but its own pixel makes the index the sigmoid of the guide."""
    module = upbench.build("indexnet", 3, kind=kind, nonlinear=False, context=False)
    if kind == "hin":
        module.indexnet.weight.data = (
            torch.zeros(4, 3, 4)
            .index_put((torch.arange(4), torch.tensor(0), torch.arange(4)), torch.tensor(1.0))
            .view(4, 3, 2, 2)
        )
    else:
        for pixel, branch in enumerate((module.indexnet1, module.indexnet2, module.indexnet3, module.indexnet4)):
            weight = torch.zeros(3, branch[0].weight.shape[1], 4)
            for channel in range(3):
                weight[channel, channel if kind == "m2o" else 0, pixel] = 1
            branch[0].weight.data = weight.view(3, -1, 2, 2)
    guide = torch.randn(2, 3, 6, 10)
    expected = guide[:, :1] if kind == "hin" else guide
    torch.testing.assert_close(module.index(guide), expected.sigmoid())


@pytest.mark.parametrize(("context", "first", "last"), [(False, 4, 5), (True, 3, 6)])
def test_context_reads_one_pixel_more_on_each_side(context: bool, first: int, last: int) -> None:
    module = upbench.build("indexnet", 2, context=context, nonlinear=False)
    guide = torch.randn(1, 2, 10, 10, requires_grad=True)
    module.index(guide)[0, 0, 4, 4].backward()
    assert guide.grad is not None
    rows = guide.grad[0].abs().sum((0, 2)).nonzero().flatten().tolist()
    assert rows == list(range(first, last + 1))


def test_the_index_does_not_see_x() -> None:
    module = upbench.build("indexnet", 6, guide_channels=4).eval()
    x, guide = torch.randn(1, 6, 3, 5), torch.randn(1, 4, 6, 10)
    torch.testing.assert_close(module(-3 * x, guide), -3 * module(x, guide))


@pytest.mark.parametrize("kind", ["o2o", "m2o"])
def test_one_index_per_channel_needs_a_guide_of_as_many(kind: str) -> None:
    with pytest.raises(SpecError, match=r"guide_channels is 4 and channels 6.*use kind: hin.*1x1 convolution"):
        upbench.build("indexnet", 6, guide_channels=4, kind=kind)
