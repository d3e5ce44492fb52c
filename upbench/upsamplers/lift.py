"""LiFT: a lightweight feature transform (Suri et al., ECCV 2024)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upbench.upsamplers._wide import WideUpsampler

IMAGE_CHANNELS = 32


def _block(inputs: int, outputs: int, stride: int = 1, bias: bool = True) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=bias), nn.BatchNorm2d(outputs), nn.ReLU()]


class Up(nn.Module):
    """A transposed convolution of the map, then two convolutions beside the image's features. State dict: up, conv_1."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        half = (channels + IMAGE_CHANNELS) // 2
        self.up = nn.ConvTranspose2d(channels + IMAGE_CHANNELS, half, 2, stride=2)
        layers = *_block(half + IMAGE_CHANNELS, outputs, bias=False), *_block(outputs, outputs, bias=False)
        self.conv_1 = nn.Sequential(OrderedDict(double_conv=nn.Sequential(*layers)))

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        return self.conv_1(torch.cat((self.up(low), high), 1))


class LiFT(WideUpsampler):
    """One step of a U-Net that gets the image at twice the resolution of the features.

    x: [B, C, H, W], guide: [B, 3, patch H, patch W] -> [B, C, 2H, 2W]; scale 2, patch 8 or 16.
    e1 = image_convs_1(guide) at 2H x 2W, e2 = image_convs_2(e1) at H x W;
    out = outc(conv(cat(up(cat(x, e2)), e1))).
    any_image: e1 is max pooled to 2H x 2W, so that the image may have any size; None of the weights changes.
    State dict: image_convs_1.{0,1,3,4}, image_convs_2.{0,1}, up1.up, up1.conv_1.double_conv.{0,1,3,4}, outc.
    Initialised as PyTorch's.
    """

    guide_kinds = ("image",)

    def __init__(
        self, channels: int, guide_channels: int = 3, scale: int = 2, *, patch: int = 16, any_image: bool = False
    ) -> None:
        super().__init__(channels, scale, guide_channels)
        self.patch, self.any_image = patch, any_image
        pool = [nn.MaxPool2d(2)] if patch == 16 and not any_image else []
        e = IMAGE_CHANNELS
        self.image_convs_1 = nn.Sequential(*_block(guide_channels, e, 2), *_block(e, e, 2), *pool)
        self.image_convs_2 = nn.Sequential(*_block(e, e, 2))
        self.up1 = Up(channels, channels // 2)
        self.outc = nn.Conv2d(channels // 2, channels, 1)

    def guide_sizes(self, x_size: Sequence[int], out_size: Sequence[int]) -> list[Sequence[int] | None]:
        return [None if self.any_image else [self.patch * n for n in x_size]]

    def upsample(self, x: Float[Tensor, "B C H W"], guide: Float[Tensor, "B Cy iH iW"]) -> Float[Tensor, "B C oH oW"]:
        fine = self.image_convs_1(guide)
        if self.any_image:
            fine = F.adaptive_max_pool2d(fine, (2 * x.shape[2], 2 * x.shape[3]))
        coarse = self.image_convs_2(fine)
        return self.outc(self.up1(torch.cat((x, coarse.to(x.dtype)), 1), fine))
