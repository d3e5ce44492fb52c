"""SAPA: similarity-aware point affiliation (Liu et al.; -I and -B NeurIPS 2022, -D its journal extension)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from upbench.ops import (
    child_points,
    conv1x1,
    guided_attention,
    softmax_over_taps,
    window_assemble,
    window_similarity,
)
from upbench.upsamplers._base import GroupNorm, Upsampler

NORM_GROUPS = 32


def _attend_window(query: Tensor, keys: Tensor, values: Tensor, kernel: int, scale: int, backend: str) -> Tensor:
    """Attention of each query [B, d, sH, sW] over the window of its parent: keys [B, d, H, W], values [B, C, H, W]."""
    logits = window_similarity(query, keys, kernel, scale, backend=backend)
    weights = softmax_over_taps(logits, dim=1, backend=backend).to(values.dtype)
    return window_assemble(values, weights.unsqueeze(1), kernel, scale, backend=backend)


def _normal(module: nn.Module) -> None:
    """N(0, 0.02) weights and zero biases for every convolution, as the release starts."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class SAPAInner(Upsampler):
    """SAPA-I: softmax over the window of the dot products of guide and x, eq. 7. No parameters.

    x: [B, C, H, W], guide: [B, C, sH, sW] -> [B, C, sH, sW]; integer scale.
    Taps outside the map have logit 0 and value 0: they keep their share of the softmax.
    """

    guided = True
    scale: int

    def __init__(self, channels: int, guide_channels: int, scale: int = 2, *, k_up: int = 5) -> None:
        super().__init__()
        self.channels, self.guide_channels, self.scale, self.k_up = channels, guide_channels, scale, k_up

    def upsample(self, x: Tensor, guide: Tensor) -> Tensor:
        return _attend_window(guide, x, x, self.k_up, self.scale, self.backend)


class SAPABase(Upsampler):
    """SAPA-B: softmax over the window of the dot products of embedded guide and embedded x, eq. 6.

    x: [B, C, H, W], guide: [B, Cy, sH, sW] -> [B, C, sH, sW]; integer scale; norm needs 32 to divide C and Cy.
    out = window_assemble(x, softmax(window_similarity(q(norm_y(guide)), k(norm_x(x))))), no 1 / sqrt(d).
    The values are x itself, not normalised. Taps outside the map have logit 0 (no key bias either) and value 0.
    State dict: norm_y.*, norm_x.* (with norm), q.*, k.*. Initialised N(0, 0.02), biases 0, norms 1 and 0.
    """

    guided = True
    scale: int

    def __init__(
        self,
        channels: int,
        guide_channels: int,
        scale: int = 2,
        *,
        k_up: int = 5,
        embedding: int = 32,
        norm: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.channels, self.guide_channels, self.scale, self.k_up = channels, guide_channels, scale, k_up
        self.norm_y = GroupNorm(NORM_GROUPS, guide_channels) if norm else nn.Identity()
        self.norm_x = GroupNorm(NORM_GROUPS, channels) if norm else nn.Identity()
        self.q = nn.Conv2d(guide_channels, embedding, 1, bias=bias)
        self.k = nn.Conv2d(channels, embedding, 1, bias=bias)
        _normal(self)

    def upsample(self, x: Tensor, guide: Tensor) -> Tensor:
        query = conv1x1(self.q, self.norm_y(guide), backend=self.backend)
        keys = conv1x1(self.k, self.norm_x(x), backend=self.backend)
        return _attend_window(query, keys, x, self.k_up, self.scale, self.backend)


class SAPADynamic(Upsampler):
    """SAPA-D: as SAPA-B, but over points that move away from the parent by predicted offsets, eq. 8.

    x: [B, C, H, W], guide: [B, Cy, sH, sW] -> [B, C, sH, sW]; integer scale, groups divide C; norm needs 32 to
    divide C and Cy. Each group has its own points, embedding and softmax.
    position = parent + offset(norm_x(x)), in low-resolution pixels and unbounded; what lies outside the map is zero.
    dof: "s2" predicts an offset for each sub-pixel (pixel shuffle), 1 one for all s^2 (nearest). Zero offsets give
    nearest interpolation. State dict: that of SAPA-B and offset.*; initialised likewise.
    """

    guided = True
    scale: int

    def __init__(
        self,
        channels: int,
        guide_channels: int,
        scale: int = 2,
        *,
        points: int = 9,
        groups: int = 4,
        embedding: int = 32,
        norm: bool = False,
        bias: bool = True,
        dof: str | int = "s2",
    ) -> None:
        super().__init__()
        self.channels, self.guide_channels, self.scale = channels, guide_channels, scale
        self.points, self.groups, self.dof = points, groups, dof
        self.norm_y = GroupNorm(NORM_GROUPS, guide_channels) if norm else nn.Identity()
        self.norm_x = GroupNorm(NORM_GROUPS, channels) if norm else nn.Identity()
        self.q = nn.Conv2d(guide_channels, groups * embedding, 1, bias=bias)
        self.k = nn.Conv2d(channels, groups * embedding, 1, bias=bias)
        offsets = 2 * points * groups * (scale * scale if dof == "s2" else 1)
        self.offset = nn.Conv2d(channels, offsets, 1, bias=bias)
        _normal(self)

    def set_offsets(self, reach: str, generator: torch.Generator) -> None:
        """Offsets of 1 ("trained", about the window of a 3x3 kernel) or 4 ("max") low-resolution pixels, root mean
        square on features of unit variance."""
        factor = 1 if reach == "trained" else 4
        with torch.no_grad():
            self.offset.weight.normal_(0, factor * self.offset.in_channels**-0.5, generator=generator)

    def positions(self, normed: Tensor) -> Tensor:
        """Points read by each output pixel, in low-resolution pixels: [B, groups, points, sH, sW, 2], x first.

        normed: norm_x(x), [B, C, H, W].
        """
        return child_points(self.offset(normed), self.groups, self.scale, self.dof == "s2")

    def upsample(self, x: Tensor, guide: Tensor) -> Tensor:
        normed, guide = self.norm_x(x), self.norm_y(guide)
        layers, each = (self.q, self.k, self.offset), self.dof == "s2"
        return guided_attention(x, normed, guide, *layers, self.scale, self.groups, each, backend=self.backend)
