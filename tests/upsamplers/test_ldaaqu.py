"""Laws of LDA-AQU."""

import pytest
import torch

import upbench


def test_zero_padding_darkens_the_border_as_predicted() -> None:
    """Constant map, zero offsets, uniform weights: 0.71 in the corner, 0.84 on the edge, 1 inside (9 to 18)."""
    module = upbench.build("ldaaqu", 32)
    torch.nn.init.zeros_(module.relative_position_bias_table)
    torch.nn.init.zeros_(module.proj_q.weight)
    out = module(torch.ones(1, 32, 9, 9))[0, 0]
    assert out[0, 0].item() == pytest.approx(0.71, abs=0.005)
    assert out[0, 9].item() == pytest.approx(0.84, abs=0.005)
    assert out[9, 9].item() == pytest.approx(1.0, abs=1e-6)


def test_starts_with_zero_offsets() -> None:
    """The release does so in its neck's init_weights; its class alone does not."""
    module = upbench.build("ldaaqu", 32)
    points = module.points(torch.randn(1, 8, 10, 12), 5, 6)
    taps = points[0, 0, :, 4, 5] * torch.tensor([11 / 5, 9 / 4])
    rows = [[x, y] for y in (3.0, 4.0, 5.0) for x in (4.0, 5.0, 6.0)]
    torch.testing.assert_close(taps, torch.tensor(rows))


@pytest.mark.parametrize(("coord", "step"), [("output", 4 / 9), ("input", 1.0)])
def test_coord_decides_how_far_apart_neighbours_are(coord: str, step: float) -> None:
    module = upbench.build("ldaaqu", 32, coord=coord)
    points = module.points(torch.randn(1, 8, 10, 10), 5, 5)
    distance = points[0, 0, 5, 4, 4] - points[0, 0, 4, 4, 4]
    torch.testing.assert_close(distance, torch.tensor([step, 0.0]))


@pytest.mark.parametrize("coord", ["output", "input"])
def test_theta_bounds_the_offsets(coord: str) -> None:
    module = upbench.build("ldaaqu", 32, theta=5, coord=coord)
    torch.nn.init.normal_(module.conv_offset[-1].weight, std=100)
    points = module.points(torch.randn(1, 8, 10, 10), 5, 5)
    module.theta = 0
    moved = (points - module.points(torch.randn(1, 8, 10, 10), 5, 5)).abs().max().item()
    assert moved == pytest.approx(5 * (4 / 9 if coord == "output" else 1), rel=1e-3)
