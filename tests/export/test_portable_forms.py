"""The forms of ops that files hold compute what the eager forms compute."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.upsamplers.test_contract import make
from upbench import ops, registry
from upbench.exchange.capture import capture
from upbench.ops import portable
from upbench.ops.local_similarity import local_similarity


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("kernel", "scale"), [(1, 2), (3, 2), (5, 3)])
def test_window_assemble(kernel: int, scale: int, groups: int) -> None:
    x, weight = drawn(2, 4, 5, 7), drawn(2, groups, kernel**2, 5 * scale, 7 * scale)
    found = portable.window_assemble(x, weight, kernel, scale)
    torch.testing.assert_close(found, ops.window_assemble(x, weight, kernel, scale))


@pytest.mark.parametrize(("kernel", "scale"), [(1, 2), (3, 2), (5, 3)])
def test_window_similarity(kernel: int, scale: int) -> None:
    query, keys = drawn(2, 4, 5 * scale, 7 * scale), drawn(2, 4, 5, 7)
    found = portable.window_similarity(query, keys, kernel, scale)
    torch.testing.assert_close(found, ops.window_similarity(query, keys, kernel, scale))


@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_mirrored_windows(kernel: int) -> None:
    x, weight = drawn(2, 4, 5, 6), drawn(2, kernel**2, 10, 12)
    torch.testing.assert_close(portable.mirrored_similarity(x, kernel), ops.mirrored_similarity(x, kernel))
    found = portable.mirrored_assemble(x, weight, kernel, 2)
    torch.testing.assert_close(found, ops.mirrored_assemble(x, weight, kernel, 2))


@pytest.mark.parametrize("dilation", [1, 2])
def test_local_similarity(dilation: int) -> None:
    x = drawn(2, 4, 5, 6)
    found = portable.local_similarity(x, 3, dilation)
    torch.testing.assert_close(found, local_similarity(x, 3, dilation))


@pytest.mark.parametrize("name", ["jbu", "freqfusion", "a2u"])
def test_no_file_reads_single_values_by_an_unfold(name: str) -> None:
    """OpenVINO 2026.4.1 returns wrong ones of an unfold beyond 2^24, without an error, where sizes are open."""
    module, tensors = make(registry.get(name), None, 8, 8)
    program = capture(module, tensors, True, "gridsample").program
    assert "im2col" not in str(program.graph)


class Decoder(torch.nn.Module):
    """Enlarges to the sizes of the maps before it, as a U-Net does."""

    def __init__(self) -> None:
        super().__init__()
        self.up = torch.nn.ModuleList(registry.build("bilinear", 4, 2, None, 0, "auto") for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for _ in self.up:
            maps.append(maps[-1][..., ::2, ::2])
        out = maps.pop()
        for up in self.up:
            skip = maps.pop()
            out = up(out, size=skip.shape[2:]) + skip
        return out


def test_sizes_of_cropped_maps_are_those_asked_for() -> None:
    """Not the smaller of two, of which torch 2.13's torch.export.load makes minutes of algebra after five crops."""
    program = capture(Decoder(), [torch.randn(1, 4, 17, 23)], True, "gridsample").program
    shapes = [str(tuple(n.meta["val"].shape)) for n in program.graph.nodes if isinstance(n.meta.get("val"), Tensor)]
    assert not [one for one in shapes if "Min" in one or "Max" in one]


@pytest.mark.parametrize("size", [(10, 14), (11, 13), (4, 9), (5, 7)])
def test_read_windows(size: tuple[int, int]) -> None:
    x = drawn(2, 3, 5, 7)
    assert torch.equal(portable.read_windows(x, 3, *size), ops.read_windows(x, 3, *size))


def test_nearest_copies_the_pixel_that_torch_copies_at_every_size() -> None:
    for n in range(1, 41):
        x = torch.arange(n, dtype=torch.float32).view(1, 1, 1, n)
        for out in range(1, 83):
            assert torch.equal(portable.nearest(x, 1, out), F.interpolate(x, (1, out), mode="nearest")), (n, out)


@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("size", [(5, 7), (1, 4), (1, 1)])
def test_points_by_gathers(size: tuple[int, int], padding: str) -> None:
    """Whole positions, positions on the border and far outside among them."""
    x, points = drawn(2, 6, *size), drawn(2, 3, 2, 4, 5, 2) * 4 + 1
    points[0] = points[0].round()
    found = portable.sample_points(x, points, padding)
    torch.testing.assert_close(found, ops.sample_points(x, points, padding))


def test_filters_of_each_sample_for_a_number_of_samples_that_is_not_known() -> None:
    """A2U filters each sample by filters of its own, as groups of a convolution where their number is known."""
    module, tensors = make(registry.get("a2u"), None, 4, 4)
    module, tensors = module.double(), tuple(t.double() for t in tensors)
    program = capture(module, tensors, True, None).program
    others = [torch.cat((t, -t[:1])) for t in tensors]
    torch.testing.assert_close(program.module()(*others), module(*others))
