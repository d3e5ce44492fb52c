"""NAF: neighbourhood attention filtering (CVPR 2026)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upbench.errors import InputError
from upbench.ops.dilated import dilated_attention
from upbench.ops.rope import centres, plane, rope
from upbench.upsamplers._base import GroupNorm
from upbench.upsamplers._norms import GROUPS
from upbench.upsamplers._wide import WideUpsampler

SHRINK = 4
REACH = 2.0


class Block(nn.Module):
    """conv2(silu(norm2(conv1(silu(norm1(v)))))), not residual. State dict: norm1, conv1, norm2, conv2."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.norm1 = GroupNorm(GROUPS, channels)
        self.conv1 = conv(channels, channels, kernel)
        self.norm2 = GroupNorm(GROUPS, channels)
        self.conv2 = conv(channels, channels, kernel)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))


def conv(inputs: int, channels: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, channels, kernel, padding=kernel // 2, padding_mode="reflect")


def branch(inputs: int, channels: int, kernel: int, layers: int) -> nn.Sequential:
    return nn.Sequential(conv(inputs, channels, kernel), *(Block(channels, kernel) for _ in range(layers)))


class AxialRoPE(nn.Module):
    """Turns pairs of channels of each head by the row and the column, in -1 to 1. Buffer: periods [d / heads / 4].

    [B, d, H, W] -> the same. jitter: in training the positions are scaled by a random factor from 1/2 to 2, the same
    for rows and columns. "kept", as released: drawn once for each size and used from then on, in evaluation too;
    "drawn": anew for every call in training, and none in evaluation; "off": never.
    """

    periods: Tensor

    def __init__(self, channels: int, heads: int, base: float, jitter: str) -> None:
        super().__init__()
        self.heads, self.base, self.jitter = heads, base, jitter
        self.kept: dict[tuple[int, int], Tensor] = {}
        self.register_buffer("periods", self._periods(channels // heads, torch.empty(0)))

    def _periods(self, dim: int, like: Tensor) -> Tensor:
        # Computed anew, so that a cast of the module to half precision does not round it.
        index = torch.arange(dim // 4, device=like.device, dtype=torch.promote_types(like.dtype, torch.float32))
        return self.base ** (2 * index / (dim // 2))

    def _factor(self, height: int, width: int) -> Tensor | None:
        """The factor of the positions of a map of this size."""
        if self.jitter == "kept" and self.kept and (height, width) in self.kept:
            return self.kept[height, width]
        if self.jitter == "off" or not self.training:
            return None
        factor = torch.exp(torch.empty(()).uniform_(-math.log(REACH), math.log(REACH)))
        if self.jitter == "kept":
            self.kept[height, width] = factor
        return factor

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        position = plane(centres(height, x), centres(width, x))
        factor = self._factor(height, width)
        if factor is not None:
            position = position * factor.to(position)
        periods = self._periods(x.shape[1] // self.heads, x)
        angles = (2 * math.pi * position[:, None] / periods.view(-1, 1, 1)).flatten(0, 1).repeat(2, 1, 1)
        return rope(x.unflatten(1, (self.heads, -1)), angles).flatten(1, 2)


class ImageEncoder(nn.Module):
    """A 1x1 and a 3x3 branch of half the channels each, pooled to the output, with positions.

    [B, 3, H_i, W_i] -> [B, dim, H', W']. State dict: encoder, sem_encoder {0, i.{norm1,conv1,norm2,conv2}}, rope.periods.
    """

    def __init__(self, inputs: int, dim: int, heads: int, layers: int, base: float, jitter: str) -> None:
        super().__init__()
        self.encoder = branch(inputs, dim // 2, 1, layers)
        self.sem_encoder = branch(inputs, dim // 2, 3, layers)
        self.rope = AxialRoPE(dim, heads, base, jitter)

    def forward(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        features = torch.cat((self.encoder(image), self.sem_encoder(image)), 1)
        return self.rope(F.adaptive_avg_pool2d(features, size))


def shrunk(image: Tensor, size: tuple[int, int]) -> Tensor:
    """An image whose sides are more than four times the output's, resized; it may lose its aspect, as released."""
    height, width = image.shape[2:]
    most = SHRINK * min(size)
    if height <= SHRINK * size[0] and width <= SHRINK * size[1]:
        return image
    return F.interpolate(image, (min(height, most), min(width, most)), mode="bilinear", align_corners=False)


class NAF(WideUpsampler):
    """Every output pixel attends to the kernel x kernel features around its parent, by the image alone.

    x: [B, C, H, W], guide: [B, 3, any, any] -> [B, C, H', W']; whole ratios, heads divide C, kernel at most H and W.
    q = image_encoder(guide) at H' x W', k = pool(q, H x W); out = softmax(q k) times x, each head its own channels.
    At the border the window is shifted inside: always kernel^2 features, and the weights sum to one.
    No weight depends on C. State dict: image_encoder.{encoder,sem_encoder,rope.periods}. Initialised as PyTorch's.
    """

    guide_kinds = ("image",)
    any_size = True

    def __init__(
        self,
        channels: int,
        guide_channels: int = 3,
        scale: int = 2,
        *,
        dim: int = 256,
        heads: int = 4,
        kernel: int = 9,
        layers: int = 2,
        rope_base: float = 100.0,
        jitter: str = "kept",
    ) -> None:
        super().__init__(channels, scale, guide_channels)
        self.heads, self.kernel = heads, kernel
        self.least_size = max(kernel, 2)
        self.image_encoder = ImageEncoder(guide_channels, dim, heads, layers, rope_base, jitter)

    def upsample(
        self, x: Float[Tensor, "B C H W"], guide: Float[Tensor, "B Cy iH iW"], size: tuple[int, int]
    ) -> Float[Tensor, "B C oH oW"]:
        if size[0] < x.shape[2] or size[1] < x.shape[3]:
            raise InputError(
                f"NAF was asked for an output of {size[0]}x{size[1]}, but makes one at least as large as x"
            )
        query = self.image_encoder(shrunk(guide, size), size)
        keys = F.adaptive_avg_pool2d(query, (x.shape[2], x.shape[3]))
        return dilated_attention(query, keys, x, self.kernel, self.heads, backend=self.backend)
