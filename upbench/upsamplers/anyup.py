"""AnyUp: universal feature upsampling (Wimmer et al., ICLR 2026)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops.bands import in_bands, stacked
from upbench.ops.unify import unify_channels
from upbench.upsamplers._bands import encode_, encode_image, project_
from upbench.upsamplers._base import GroupNorm
from upbench.upsamplers._cross import CrossDecoder
from upbench.upsamplers._norms import GROUPS, unit
from upbench.upsamplers._wide import WideUpsampler
from upbench.upsamplers.jafar import ImageRoPE


class WideGroupNorm(GroupNorm):
    """A group norm that computes in the dtype of its input, whatever the dtype of its weights."""

    def forward(self, x: Tensor) -> Tensor:
        weights = self.weight.to(x.dtype), self.bias.to(x.dtype)
        if torch.compiler.is_exporting():
            return torch.group_norm(x, self.num_groups, *weights, self.eps)
        rows = x.contiguous().flatten(2)
        return F.group_norm(rows, self.num_groups, *weights, self.eps).view(x.shape)


class Residual(nn.Module):
    """shortcut(v) + conv(silu(norm(conv(silu(norm(v)))))), convolutions 1x1. State dict: block.{0,2,3,5}, shortcut."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            WideGroupNorm(GROUPS, inputs),
            nn.SiLU(),
            nn.Conv2d(inputs, channels, 1, bias=False),
            GroupNorm(GROUPS, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 1, bias=False),
        )
        same = inputs == channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, channels, 1, bias=False)

    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    def forward(self, x: Tensor) -> Tensor:
        norm, *rest = self.block
        # Unified features come in float32, whatever the dtype of the weights: the norm is of their differences.
        out = norm(x).to(self.dtype())
        for layer in rest:
            out = layer(out)
        return self.shortcut(x.to(self.dtype())) + out


class Unification(nn.Module):
    """Features of any number of channels, as `filters` maps. [B, C, H, W] -> [B, filters, H, W]. State dict: basis.

    Every channel is correlated with every filter, see `unify_channels`.
    """

    def __init__(self, filters: int, kernel: int, order: str) -> None:
        super().__init__()
        self.order = order
        self.basis = nn.Parameter(torch.randn(filters, 1, kernel, kernel))

    def forward(self, x: Tensor) -> Tensor:
        return unify_channels(unit(x), self.basis, self.order == "released")


def encoder(first: nn.Module, inputs: int, channels: int) -> nn.Sequential:
    return nn.Sequential(first, Residual(inputs, channels), Residual(channels, channels))


def conv(inputs: int, channels: int, kernel: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, channels, kernel, padding=kernel // 2, padding_mode="reflect", bias=False)


def pool(x: Tensor, size: Sequence[int]) -> Tensor:
    """Adaptive average pooling."""
    return F.adaptive_avg_pool2d(x, (size[0], size[1]))


class AnyUp(WideUpsampler):
    """JAFAR's attention within a window, with keys that are made alike of features of any number of channels.

    x: [B, C, H, W], guide: [B, 3, any, any] -> [B, C, H', W'], any output size.
    image = rope(image_encoder(guide)); q = pool(query_encoder(image), H' x W');
    k = aggregation(cat(pool(key_encoder(image), H x W), key_features_encoder(x))), the latter with `Unification`;
    out = mean over heads of softmax(q k) times x, among the features within `window`, see `ops.window_cells`.
    No weight depends on C. order: how the unification's maps are read, "released" or "intended", see the card.
    State dict: {image,key,query}_encoder.{0.weight,1|2.block.{0,2,3,5}}, key_features_encoder.{0.basis,1|2},
    aggregation, rope.freqs, cross_decode. Initialised as PyTorch's, basis N(0, 1).
    """

    guide_kinds = ("image",)
    any_size = True
    least_size = 2  # of the aggregation's mirrored border

    def __init__(
        self,
        channels: int,
        guide_channels: int = 3,
        scale: float = 2,
        *,
        dim: int = 128,
        heads: int = 4,
        kernel: int = 1,
        lfu_kernel: int = 5,
        lfu_dim: int | None = None,
        window: float = 0.1,
        order: str = "released",
    ) -> None:
        super().__init__(channels, scale, guide_channels)
        self.dim, self.window = dim, window
        filters = lfu_dim or dim
        self.image_encoder = encoder(conv(guide_channels, dim, kernel), dim, dim)
        self.key_encoder = encoder(conv(dim, dim), dim, dim)
        self.query_encoder = encoder(conv(dim, dim), dim, dim)
        self.key_features_encoder = encoder(Unification(filters, lfu_kernel, order), filters, dim)
        self.aggregation = encoder(conv(2 * dim, dim, 3), dim, dim)
        self.rope = ImageRoPE(dim)
        self.cross_decode = CrossDecoder(dim, heads, None)

    def upsample(
        self, x: Float[Tensor, "B C H W"], guide: Float[Tensor, "B Cy iH iW"], size: tuple[int, int]
    ) -> Float[Tensor, "B C oH oW"]:
        values = self.dim * max(guide.shape[2] * guide.shape[3], size[0] * size[1])
        if in_bands(self, self.backend, values, x, guide):
            return stacked(lambda x, guide: self._upsample_large(x, guide, size), x, guide)
        image = self.rope(self.image_encoder(guide), self.backend)
        query = pool(self.query_encoder(image), size)
        keys = self.keys(pool(self.key_encoder(image), x.shape[2:]), x)
        return self.cross_decode(query, keys, x, self.window, self.backend)

    def keys(self, pooled: Float[Tensor, "B d H W"], x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B d H W"]:
        """The keys of the features, from the image at their size and from themselves."""
        return self.aggregation(torch.cat((pooled, self.key_features_encoder(x)), 1))

    def _upsample_large(
        self, x: Float[Tensor, "1 C H W"], guide: Float[Tensor, "1 Cy iH iW"], size: tuple[int, int]
    ) -> Float[Tensor, "1 C oH oW"]:
        """One image with one map of the image's size in memory, which is therefore made twice."""

        def encoded(layers: nn.Module, wanted: Sequence[int]) -> Tensor:
            held = encode_image(self.image_encoder, self.rope, guide, self.backend)
            encode_(layers, held)
            # A map that has the size already is not copied: it is the largest there is.
            return held if tuple(held.shape[2:]) == tuple(wanted) else pool(held, wanted)

        keys = self.keys(encoded(self.key_encoder, x.shape[2:]), x)
        query = encoded(self.query_encoder, size)
        project_(self.cross_decode, query)
        return self.cross_decode.cross_attn.attend(query, keys, x, self.window, self.backend)
