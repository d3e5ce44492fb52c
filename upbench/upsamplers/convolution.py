"""Deconvolution and pixel shuffle."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from upbench.upsamplers._wide import WideUpsampler


class Deconv(WideUpsampler, nn.ConvTranspose2d):  # type: ignore[misc] # it is called as an Upsampler
    """Upsamples by a transposed convolution.

    Args:
        channels: channels C of x.
        scale: output pixels per low-resolution pixel, whole.
        kernel: side of the kernel, at least scale.

    State dict: weight [C, C, k, k], bias [C]. Padding ceil((k - s) / 2), output padding whatever makes sH exact:
    for k=3, s=2 both are 1, as in detection-with-upsamplers.
    """

    def __init__(self, channels: int, scale: int = 2, *, kernel: int = 3) -> None:
        padding = (kernel - scale + 1) // 2
        nn.ConvTranspose2d.__init__(
            self, channels, channels, kernel, stride=scale, padding=padding, output_padding=scale - kernel + 2 * padding
        )
        self.channels, self.scale = channels, scale

    def upsample(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C sH sW"]:
        return nn.ConvTranspose2d.forward(self, x)


class PixelShuffle(WideUpsampler, nn.Sequential):
    """Upsamples by a convolution to scale^2 C channels, then depth to space.

    Args:
        channels: channels C of x.
        scale: output pixels per low-resolution pixel, whole.
        kernel: side of the kernel, odd.

    State dict: 0.weight [s^2 C, C, k, k], 0.bias [s^2 C]. Source: Shi et al., CVPR 2016.
    """

    def __init__(self, channels: int, scale: int = 2, *, kernel: int = 3) -> None:
        nn.Sequential.__init__(
            self, nn.Conv2d(channels, scale * scale * channels, kernel, padding=kernel // 2), nn.PixelShuffle(scale)
        )
        self.channels, self.scale = channels, scale

    def upsample(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C sH sW"]:
        return nn.Sequential.forward(self, x)

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the keys of mmcv's PixelShufflePack, which calls the convolution upsample_conv."""
        return {key.replace("upsample_conv.", "0."): value for key, value in state.items()}
