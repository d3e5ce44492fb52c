"""ReSFU: a refreshed similarity-based upsampler (Zhou et al., arXiv 2024)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from upbench.ops import (
    guided_filter,
    in_dtype,
    lattice,
    normed_conv1x1,
    paired_difference,
    resize_map,
    sample_window_assemble,
)
from upbench.upsamplers._base import GroupNorm, Upsampler

HIDDEN = 128
"""Channels of the differences that scores are made of."""


class GuidedFilter(nn.Module):
    """Fast guided filter: makes a source locally affine in its guidance.

    Args:
        channels: channels C of guidance and source.
        radius: pixels from the centre of the mean's window to its side, at full size.
        eps: added to the variance.
        subsample: pixels of which one is kept along each axis for the means.

    a = cov(guidance, source) / (var(guidance) + eps), b = mean(source) - a mean(guidance), at 1 / subsample of the
    size; out = mean(a) guidance + mean(b). Buffer: kernel [C, 1, 1, 2 radius + 1], ones, for released checkpoints.
    """

    def __init__(self, channels: int, radius: int, eps: float, subsample: int) -> None:
        super().__init__()
        self.radius, self.eps, self.subsample = radius // subsample, eps, subsample
        self.register_buffer("kernel", torch.ones(channels, 1, 1, 2 * self.radius + 1))

    def forward(
        self, guidance: Float[Tensor, "B C oH oW"], source: Float[Tensor, "B C oH oW"], backend: str = "eager"
    ) -> Float[Tensor, "B C oH oW"]:
        return guided_filter(guidance, source, self.radius, self.eps, self.subsample, backend=backend)


class PairedCentralDifference(nn.Module):
    """Scores the k x k neighbours of each pixel by learned differences of key and query.

    Args:
        channels: channels of key and query.
        groups: groups of channels that are compared each for itself.
        kernel: side k of the neighbourhood, odd.
        dilation: pixels from one neighbour to the next.
        norm_groups: groups of the norms.

    v[p] = sum over taps n of weight[n] . (key[p + dilation n] - query[p]) + bias, both normed alike, edges replicated;
    scores = channel_compressor(v).
    """

    def __init__(self, channels: int, groups: int, kernel: int, dilation: int, norm_groups: int) -> None:
        super().__init__()
        self.groups, self.dilation = groups, dilation
        self.weight = nn.Parameter(torch.empty(HIDDEN, channels // groups, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(1, HIDDEN, 1, 1))
        self.norm = GroupNorm(norm_groups, channels)
        self.channel_compressor = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(HIDDEN, HIDDEN, 1, groups=groups),
            nn.ReLU(),
            GroupNorm(norm_groups, HIDDEN),
            nn.Conv2d(HIDDEN, kernel * kernel, 1),
        )
        nn.init.kaiming_normal_(self.weight, mode="fan_out")

    def forward(
        self,
        key: Float[Tensor, "B e oH oW"],
        query: Float[Tensor, "B e oH oW"],
        backend: str = "eager",
        coarse: Float[Tensor, "B e H W"] | None = None,
        rounded: bool = False,
    ) -> Float[Tensor, "B T oH oW"]:
        layers = (self.norm, self.weight, self.bias, self.channel_compressor)
        return paired_difference(key, query, *layers, self.groups, self.dilation, coarse, rounded, backend=backend)


class ReSFU(Upsampler):
    """Sums k_up x k_up bilinear samples, one low-resolution pixel apart, weighed by learned differences of query and key.

    Args:
        channels: channels C of x.
        guide_channels: channels Cy of the guide.
        scale: output pixels per low-resolution pixel, any number of at least 1; sizes are rounded down.
        groups: groups of channels that are compared each for itself.
        k_up: side of the neighbourhood, odd.
        embedding: channels of query and key.
        radius: radius of the guided filter in output pixels.
        eps: of the guided filter's variance.
        gn_groups: groups of the norms of the scores.
        gf_scale: output pixels of which the guided filter's means keep one along each axis.
        norm: whether guide and x are group-normed before their projections.
        y_conv: whether the guide is projected; without, it has `embedding` channels and is the query itself.
        qkv_bias: whether the projections of guide and x have biases.

    q = linear(norm(guide)), k = bilinear(linear(norm(x))), q_gf = guided_filter(q, k), q_gs = gauss(q);
    weights = softmax(semantic(k, q_gf) + detail(q_gs, q)), neighbours outside the output left out;
    out = sample_window_assemble(x, weights).
    Neighbours in the scores are `dilation` output pixels apart: the scale, rounded to a whole number (halves up).
    State dict: norm_x, norm_y (with norm), q, k, GF.kernel (buffer), {semantic,detail}_scores.{weight,bias},
    {semantic,detail}_scores.norm, {semantic,detail}_scores.channel_compressor.{1,3,4}.
    Initialised N(0, 0.02), biases 0; scores' own weight Kaiming-normal by its outputs.
    """

    guided = True
    any_size = True
    gauss: Tensor

    def __init__(
        self,
        channels: int,
        guide_channels: int,
        scale: float = 2,
        *,
        groups: int = 4,
        k_up: int = 3,
        embedding: int = 32,
        radius: int = 8,
        eps: float = 0.001,
        gn_groups: int = 8,
        gf_scale: int = 2,
        norm: bool = True,
        y_conv: bool = True,
        qkv_bias: bool = True,
    ) -> None:
        super().__init__(channels, scale, guide_channels)
        self.k_up = k_up
        self.dilation = int(scale + 0.5)
        self.norm_x = GroupNorm(min(32, channels), channels) if norm else nn.Identity()
        self.norm_y = GroupNorm(min(32, guide_channels), guide_channels) if norm else nn.Identity()
        self.q = nn.Conv2d(guide_channels, embedding, 1, bias=qkv_bias) if y_conv else nn.Identity()
        self.k = nn.Conv2d(channels, embedding, 1, bias=qkv_bias)
        self.GF = GuidedFilter(embedding, radius, eps, gf_scale)
        self.semantic_scores = PairedCentralDifference(embedding, groups, k_up, self.dilation, gn_groups)
        self.detail_scores = PairedCentralDifference(embedding, groups, k_up, self.dilation, gn_groups)
        bell = torch.exp(-0.5 * torch.arange(-1.0, 2.0) ** 2)
        bell = torch.outer(bell, bell) / bell.sum() ** 2
        self.register_buffer("gauss", bell.expand(embedding, 1, 3, 3).contiguous(), persistent=False)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def outside(self, height: int, width: int, like: Tensor) -> Bool[Tensor, "T {height} {width}"]:
        """Say which of the T = k_up^2 neighbours of each output pixel are outside an output of height x width."""
        pixels = lattice(height, width, like)
        taps = (lattice(self.k_up, self.k_up, like) - self.k_up // 2).flatten(1) * self.dilation
        x, y = pixels.unsqueeze(1) + taps[..., None, None]
        return (x < 0) | (x >= width) | (y < 0) | (y >= height)

    def weights(self, x: Float[Tensor, "B C H W"], guide: Float[Tensor, "B Cy oH oW"]) -> Float[Tensor, "B T oH oW"]:
        """Predict the weights of the T = k_up^2 neighbours, which sum to one."""
        height, width = guide.shape[2:]
        backend, projects = self.backend, isinstance(self.q, nn.Conv2d)
        # Query and key are small beside x and guide, and half precision may go on in float32 from there.
        wide = projects and not torch.is_grad_enabled()
        if isinstance(self.q, nn.Conv2d):
            query = normed_conv1x1(self.norm_y, self.q, guide, wide, backend=backend)
        else:
            query = self.norm_y(guide)
        coarse = normed_conv1x1(self.norm_x, self.k, x, wide, backend=backend)
        key = resize_map(coarse, height, width, backend=backend)
        wide = wide and torch.finfo(key.dtype).bits > torch.finfo(x.dtype).bits
        layers = (self.semantic_scores, self.detail_scores)
        dtype = key.dtype  # key itself is deleted below, which torch.compile does not follow where a generator holds it
        semantic, detail = (in_dtype(layer, dtype) if wide else layer for layer in layers)
        rounded, smooth = wide and x.dtype == torch.bfloat16, self.smoothed(query)
        scores = semantic(key, self.GF(query, key, backend), backend, coarse, rounded)
        del key, coarse  # they would be held beside the hidden channels of the second scores
        scores = scores + detail(smooth, query, backend, None, rounded)
        weights = F.softmax(scores.masked_fill(self.outside(height, width, x), -torch.inf), dim=1)
        return weights.to(x.dtype) if wide else weights

    def smoothed(self, query: Float[Tensor, "B e oH oW"]) -> Float[Tensor, "B e oH oW"]:
        """Blur the query by a Gauss kernel of 3 x 3, its edges repeated."""
        padded = F.pad(query, (1, 1, 1, 1), mode="replicate")
        return F.conv2d(padded, self.gauss.to(query.dtype), groups=query.shape[1])

    def upsample(
        self, x: Float[Tensor, "B C H W"], guide: Float[Tensor, "B Cy oH oW"], size: tuple[int, int]
    ) -> Float[Tensor, "B C oH oW"]:
        return sample_window_assemble(x, self.weights(x, guide), self.k_up, backend=self.backend)
