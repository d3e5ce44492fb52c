"""Laws of DySample."""

import pytest
import torch
import torch.nn.functional as F

import upbench


@pytest.mark.parametrize("name", ["dysample", "dysample+", "dysample-s", "dysample-s+"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_zero_offsets_are_bilinear(name: str, scale: int) -> None:
    channels = 16 * scale * scale
    module = upbench.build(name, channels, scale)
    torch.nn.init.zeros_(module.offset.weight)
    x = torch.randn(2, channels, 5, 7)
    expected = F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
    torch.testing.assert_close(module(x), expected, rtol=1e-4, atol=1e-5)


def test_initial_range_of_plus_equals_the_static_one() -> None:
    """The scope starts at sigmoid(0) * 0.5 = 0.25."""
    plain, plus = upbench.build("dysample", 16, seed=0), upbench.build("dysample+", 16, seed=0)
    plus.offset.load_state_dict(plain.offset.state_dict())
    x = torch.randn(1, 16, 4, 4)
    torch.testing.assert_close(plus(x), plain(x))
