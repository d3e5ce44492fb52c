"""LoftUp: a coordinate-based feature upsampler (Huang et al., ICCV 2025)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops import attention_assemble, attention_weights, interpolate
from upbench.ops.rope import ends, plane
from upbench.upsamplers._cross import linear
from upbench.upsamplers._norms import ChannelLayerNorm
from upbench.upsamplers._wide import WideUpsampler

COORDINATE_FREQUENCIES = 5
LOWEST, HIGHEST = -2.0, 10.0


class ChannelNorm(nn.Module):
    """Layer norm over the channels of a map, under the released key: norm.{weight,bias}."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelLayerNorm(channels, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


class Fourier(nn.Module):
    """Sines and cosines of maps at exponentially growing frequencies. State dict: biases [2, maps, frequencies].

    maps: [B, M, H, W] -> [B, 2 n M, H, W]: sines then cosines, channel = frequency * M + map.
    Frequencies run from e^-2 to e^10, and with them an error of 1e-7 in a map becomes 1e-3 in a sine: the maps, the
    table and the product are in at least float32. The biases are read as [2, frequencies, maps], as released.
    """

    def __init__(self, maps: int, frequencies: int) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.biases = nn.Parameter(torch.randn(2, maps, frequencies))

    def forward(self, maps: Tensor) -> Tensor:
        table = torch.linspace(LOWEST, HIGHEST, self.frequencies, device=maps.device, dtype=maps.dtype).exp()
        waves = (maps.unsqueeze(1) * table.view(-1, 1, 1, 1)).flatten(1, 2)
        sine, cosine = self.biases.to(maps.dtype).flatten(1)[..., None, None]
        return torch.cat(((waves + sine).sin(), (waves + cosine).cos()), 1)


def coordinates(x: Tensor) -> Tensor:
    """Row and column of every pixel of a map, from -1 to 1: [B, 2, H, W]."""
    return plane(ends(x.shape[2], -1.0, x), ends(x.shape[3], -1.0, x)).expand(x.shape[0], -1, -1, -1)


def stretched(image: Tensor) -> Tensor:
    """Every colour from -0.5 to 0.5 over the whole batch, in at least float32. [B, 3, H, W] -> the same."""
    colours = image.transpose(0, 1).flatten(1)
    low, high = (found.values.view(-1, 1, 1) for found in (colours.min(1), colours.max(1)))
    return (image - low) / (high - low).clamp(min=1e-4) - 0.5


class Attention(nn.Module):
    """q + out_proj(attention of norm_q(q) to norm_kv(kv)). Maps [B, d, H', W'], [B, d, H, W] -> [B, d, H', W'].

    State dict: norm_q, norm_kv, attention.{in_proj_weight,in_proj_bias,out_proj}, as torch's multi-head attention.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_q = ChannelLayerNorm(dim, eps=1e-5)
        self.norm_kv = ChannelLayerNorm(dim, eps=1e-5)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)

    def forward(self, query: Tensor, features: Tensor) -> Tensor:
        matrices, biases = self.attention.in_proj_weight.chunk(3), self.attention.in_proj_bias.chunk(3)
        features = self.norm_kv(features)
        sources = (self.norm_q(query), features, features)
        q, k, v = (linear(s, m, b) for s, m, b in zip(sources, matrices, biases, strict=True))
        out = attention_assemble(attention_weights(q, k, self.heads), v).unflatten(2, query.shape[2:])
        return query + linear(out, self.attention.out_proj.weight, self.attention.out_proj.bias)


class FeedForward(nn.Module):
    """x + linear(gelu(linear(norm(x)))) for every pixel. [B, d, H, W] -> the same. State dict: net.{0,1,4}."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        # The places 2 and 3 are an activation and a dropout in the release.
        self.net = nn.ModuleList(
            [nn.LayerNorm(dim), nn.Linear(dim, hidden), nn.GELU(), nn.Identity(), nn.Linear(hidden, dim)]
        )

    def forward(self, x: Tensor) -> Tensor:
        rows = x.permute(0, 2, 3, 1)
        for layer in self.net:
            rows = layer(rows)
        return x + rows.permute(0, 3, 1, 2)


class Transformer(nn.Module):
    """Layers of `Attention` and `FeedForward`, then a norm. State dict: layers.i.{0,1}, norm."""

    def __init__(self, dim: int, heads: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList([Attention(dim, heads), FeedForward(dim, hidden)]) for _ in range(layers)
        )
        self.norm = ChannelLayerNorm(dim, eps=1e-5)

    def forward(self, query: Tensor, features: Tensor) -> Tensor:
        for layer in self.layers:
            attend, feed = layer.children()
            query = feed(attend(query, features))
        return self.norm(query)


class LoftUp(WideUpsampler):
    """Every pixel of the image attends to all features, and the output is regressed from what it gets.

    x: [B, C, H, W], guide: [B, 3, H', W'], of the output's size -> [B, C, H', W'].
    image = stretched(guide), over the batch; q = first_conv(cat(fourier(coordinates, image), image)), d channels;
    kv = cat(x, fourier(coordinates)), d = C + 20; out = final_conv(ca_transformer(q, kv)).
    position "learnable": kv = x + table (bicubic to the size of x), d = C, and the last step is a norm alone.
    input_norm: a layer norm of x first, as the released hub models have (then under the keys upsampler. and channelnorm.).
    State dict: lr_pe.biases | lr_pe, fourier_feat.1.biases, first_conv.{0.norm,1,2,4,5}, ca_transformer,
    final_conv.{0,1} | final_conv, channelnorm.norm with input_norm.
    """

    guide_kinds = ("image",)
    any_size = True

    def __init__(
        self,
        channels: int,
        guide_channels: int = 3,
        scale: float = 2,
        *,
        frequencies: int = 20,
        heads: int = 4,
        layers: int = 2,
        position: str = "sine",
        lr_size: int = 16,
        input_norm: bool = False,
    ) -> None:
        super().__init__(channels, scale, guide_channels)
        self.sine = position == "sine"
        self.lr_size = lr_size
        dim = channels + 4 * COORDINATE_FREQUENCIES if self.sine else channels
        maps = 2 + guide_channels
        waves = 2 * frequencies * maps + guide_channels
        if input_norm:
            self.channelnorm = ChannelNorm(channels)
        self.lr_pe: nn.Module | nn.Parameter = (
            Fourier(2, COORDINATE_FREQUENCIES)
            if self.sine
            else nn.Parameter(0.02 * torch.randn(1, lr_size**2, channels))
        )
        self.fourier_feat = nn.Sequential(nn.Identity(), Fourier(maps, frequencies))
        self.first_conv = nn.Sequential(
            ChannelNorm(waves),
            nn.Conv2d(waves, dim, 3, padding=1),
            nn.BatchNorm2d(dim),
            nn.ReLU(),
            nn.Conv2d(dim, dim, 3, padding=1),
            nn.BatchNorm2d(dim),
            nn.ReLU(),
        )
        self.ca_transformer = Transformer(dim, heads, channels, layers)
        last = ChannelLayerNorm(channels)
        self.final_conv = nn.Sequential(nn.Conv2d(dim, channels, 1), last) if self.sine else last

    def guide_sizes(self, x_size: Sequence[int], out_size: Sequence[int]) -> list[Sequence[int] | None]:
        return [out_size]

    def queries(self, guide: Tensor) -> Tensor:
        """Features of every pixel of the image: [B, d, H', W']."""
        place = coordinates(guide)
        image = stretched(guide.to(place.dtype))
        waves = torch.cat((self.fourier_feat(torch.cat((place, image), 1)), image), 1)
        return self.first_conv(waves.to(guide.dtype))

    def features(self, x: Tensor) -> Tensor:
        """The features with their positions: [B, d, H, W]."""
        if isinstance(self.lr_pe, nn.Module):
            return torch.cat((x, self.lr_pe(coordinates(x)).to(x.dtype)), 1)
        table = self.lr_pe.transpose(1, 2).unflatten(2, (self.lr_size, self.lr_size))
        if x.shape[2:] != table.shape[2:]:
            table = interpolate(table, x.shape[2], x.shape[3], "bicubic")
        return x + table

    def upsample(
        self, x: Float[Tensor, "B C H W"], guide: Float[Tensor, "B Cy oH oW"], size: tuple[int, int]
    ) -> Float[Tensor, "B C oH oW"]:
        if hasattr(self, "channelnorm"):
            x = self.channelnorm(x)
        return self.final_conv(self.ca_transformer(self.queries(guide), self.features(x)))

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The hub models keep the upsampler beside the norm of its input."""
        return {key.removeprefix("upsampler."): value for key, value in state.items()}
