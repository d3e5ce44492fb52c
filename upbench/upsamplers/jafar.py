"""JAFAR: jack up any feature at any resolution (Couairon et al., arXiv 2025)."""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops import convolution
from upbench.ops.rope import ends, plane, plane_rope
from upbench.upsamplers._base import GroupNorm, Upsampler
from upbench.upsamplers._cross import CrossDecoder
from upbench.upsamplers._norms import GROUPS, plain_group_norm, unit

BASE = 100.0


class Residual(nn.Module):
    """v + conv2(silu(norm2(conv1(silu(norm1(v)))))), both convolutions 1x1. [B, d, H, W] -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = GroupNorm(GROUPS, channels)
        self.conv1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm2 = GroupNorm(GROUPS, channels)
        self.conv2 = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))


def encoder(inputs: int, channels: int, kernel: int = 1) -> nn.Sequential:
    """A convolution with mirrored border, then two residual blocks."""
    first = nn.Conv2d(inputs, channels, kernel, padding=kernel // 2, padding_mode="reflect", bias=False)
    return nn.Sequential(first, Residual(channels), Residual(channels))


class ImageRoPE(nn.Module):
    """Position from 0 to 1 in both directions, written into an image's features. State dict: freqs [2, d], trained.

    [B, d, H, W] -> the same. Half of the pairs turn by the row, half by the column: channel i is paired with
    i + d/2, whose angle is the other direction's, so that it is no rotation and norms are not kept.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        quarter = BASE ** -torch.linspace(0, 1, channels // 4) * 2 * math.pi
        pair, none = torch.cat((quarter, quarter)), torch.zeros(channels // 4 * 2)
        self.freqs = nn.Parameter(torch.stack((torch.cat((pair, none)), torch.cat((none, pair)))))

    def forward(self, x: Tensor, backend: str = "auto", rows: slice | None = None, height: int | None = None) -> Tensor:
        """rows, height: which rows x holds of a map, and how many it has; all of it where they are not given."""
        down = ends(x.shape[2] if height is None else height, 0.0, x)
        position = plane(down if rows is None else down[rows], ends(x.shape[3], 0.0, x))
        return plane_rope(x, position, self.freqs, backend=backend)


class Modulate(nn.Module):
    """gamma(signal) * x + beta(signal). State dict: gamma.weight, beta.weight."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Conv2d(channels, channels, 1, bias=False)
        self.beta = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor, signal: Tensor, backend: str = "eager") -> Tensor:
        return convolution(self.gamma, signal, backend=backend) * x + convolution(self.beta, signal, backend=backend)


class JAFAR(Upsampler):
    """Every output pixel attends to all features, by the image; the result is a convex combination of features.

    x: [B, C, H, W], guide: [B, 3, any, any] -> [B, C, H', W'], any output size.
    image = rope(image_encoder(guide)); q = norm(pool(query_encoder(image), H' x W'));
    k = gamma(f) * norm(pool(key_encoder(image), H x W)) + beta(f), f = key_features_encoder(x / |x|);
    out = mean over heads of softmax(q k) times x, see `CrossDecoder`, which also computes what the release drops.
    State dict: {image,key,query,key_features}_encoder.{0.weight,1|2.{norm1,conv1,norm2,conv2}}, sft_key.{gamma,beta},
    rope.freqs, cross_decode. Initialised as PyTorch's.
    """

    guide_kinds = ("image",)
    any_size = True

    def __init__(
        self,
        channels: int,
        guide_channels: int = 3,
        scale: float = 2,
        *,
        dim: int = 128,
        heads: int = 4,
        kernel: int = 1,
    ) -> None:
        super().__init__(channels, scale, guide_channels)
        self.image_encoder = encoder(guide_channels, dim, kernel)
        self.key_encoder = encoder(dim, dim)
        self.query_encoder = encoder(dim, dim)
        self.key_features_encoder = encoder(channels, dim)
        self.sft_key = Modulate(dim)
        self.rope = ImageRoPE(dim)
        self.cross_decode = CrossDecoder(dim, heads, channels)

    def upsample(
        self, x: Float[Tensor, "B C H W"], guide: Float[Tensor, "B Cy iH iW"], size: tuple[int, int]
    ) -> Float[Tensor, "B C oH oW"]:
        encode = partial(convolution, backend=self.backend)
        image = self.rope(encode(self.image_encoder, guide), self.backend)
        query = plain_group_norm(F.adaptive_avg_pool2d(encode(self.query_encoder, image), size))
        keys = plain_group_norm(F.adaptive_avg_pool2d(encode(self.key_encoder, image), (x.shape[2], x.shape[3])))
        keys = self.sft_key(keys, encode(self.key_features_encoder, unit(x)), self.backend)
        return self.cross_decode(query, keys, x, backend=self.backend)
