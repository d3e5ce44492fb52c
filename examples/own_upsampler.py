"""An upsampler of one's own in thirty lines, profiled and compared: run it from this folder, `python own_upsampler.py`."""

import torch
from torch import nn

import upbench


class Up(nn.Module):
    """A convolution to scale^2 times the channels, a group of channels at a time, then depth to space."""

    def __init__(self, channels, scale=2, kernel=3, groups=8):
        super().__init__()
        self.expand = nn.Conv2d(channels, channels * scale**2, kernel, padding=kernel // 2, groups=groups)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x):
        return self.shuffle(self.expand(x))


if __name__ == "__main__":
    fast = {"shape": "32x8x8", "threads": 1, "budget": 0.02}
    profile = upbench.profile(Up(32), torch.randn(1, 32, 8, 8), threads=1, budget=0.02)
    assert profile.params == 32 * 4 * (4 * 9 + 1)
    print(profile.to_markdown())
    # By its name it is an upsampler as any other: its arguments are params, and axes of sweeps.
    pointwise = upbench.spec("own_upsampler:Up", kernel=1, **fast)
    print(upbench.compare("own_upsampler:Up", pointwise, "pixelshuffle", **fast).to_markdown())
