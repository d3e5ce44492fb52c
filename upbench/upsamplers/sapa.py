"""SAPA: similarity-aware point affiliation (Liu et al.; -I and -B NeurIPS 2022, -D its journal extension)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops import attend_window, child_points, conv1x1, guided_attention
from upbench.upsamplers._base import GroupNorm, Upsampler

NORM_GROUPS = 32
"""Groups of the norms of guide and x."""


def _normal(module: nn.Module) -> None:
    """Draw N(0, 0.02) weights and set zero biases for every convolution, as the release does."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class SAPAInner(Upsampler):
    """SAPA-I: sums the window with a softmax of the dot products of guide and x; it has no learned parameters.

    Args:
        channels: channels C of x.
        guide_channels: channels of the guide: C.
        scale: output pixels per low-resolution pixel, whole.
        k_up: side of the window, odd.

    Taps outside the map have logit 0 and value 0: they keep their share of the softmax. Source: SAPA, eq. 7.
    """

    guided = True
    scale: int

    def __init__(self, channels: int, guide_channels: int, scale: int = 2, *, k_up: int = 5) -> None:
        super().__init__(channels, scale, guide_channels)
        self.k_up = k_up

    def upsample(self, x: Float[Tensor, "B C H W"], guide: Float[Tensor, "B C sH sW"]) -> Float[Tensor, "B C sH sW"]:
        return attend_window(guide, x, x, self.k_up, self.scale, backend=self.backend)


class SAPABase(Upsampler):
    """SAPA-B: sums the window with a softmax of the dot products of embedded guide and embedded x.

    Args:
        channels: channels C of x; with norm a multiple of 32.
        guide_channels: channels Cy of the guide; with norm a multiple of 32.
        scale: output pixels per low-resolution pixel, whole.
        k_up: side of the window, odd.
        embedding: channels of query and key.
        norm: whether guide and x are group-normed before their projections.
        bias: whether the projections have biases.

    out = window_assemble(x, softmax(window_similarity(q(norm_y(guide)), k(norm_x(x))))), no 1 / sqrt(d).
    The values are x itself, not normalised. Taps outside the map have logit 0 (no key bias either) and value 0.
    State dict: norm_y.*, norm_x.* (with norm), q.*, k.*. Initialised N(0, 0.02), biases 0, norms 1 and 0.
    Source: SAPA, eq. 6.
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
        super().__init__(channels, scale, guide_channels)
        self.k_up = k_up
        self.norm_y = GroupNorm(NORM_GROUPS, guide_channels) if norm else nn.Identity()
        self.norm_x = GroupNorm(NORM_GROUPS, channels) if norm else nn.Identity()
        self.q = nn.Conv2d(guide_channels, embedding, 1, bias=bias)
        self.k = nn.Conv2d(channels, embedding, 1, bias=bias)
        _normal(self)

    def upsample(self, x: Float[Tensor, "B C H W"], guide: Float[Tensor, "B Cy sH sW"]) -> Float[Tensor, "B C sH sW"]:
        query = conv1x1(self.q, self.norm_y(guide), backend=self.backend)
        keys = conv1x1(self.k, self.norm_x(x), backend=self.backend)
        return attend_window(query, keys, x, self.k_up, self.scale, backend=self.backend)


class SAPADynamic(Upsampler):
    """SAPA-D: attends as SAPA-B does, but to points that move away from the parent by predicted offsets.

    Args:
        channels: channels C of x; with norm a multiple of 32.
        guide_channels: channels Cy of the guide; with norm a multiple of 32.
        scale: output pixels per low-resolution pixel, whole.
        points: points that each output pixel reads.
        groups: groups of channels with points, an embedding and a softmax each; divide C.
        embedding: channels of query and key in each group.
        norm: whether guide and x are group-normed before their projections.
        bias: whether the projections have biases.
        dof: "s2" predicts an offset for each sub-pixel (pixel shuffle), 1 one for all scale^2 (nearest).

    position = parent + offset(norm_x(x)), in low-resolution pixels and unbounded; what lies outside the map is zero.
    Zero offsets give nearest interpolation. State dict: that of SAPA-B and offset.*; initialised likewise.
    Source: SAPA-D, eq. 8.
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
        super().__init__(channels, scale, guide_channels)
        self.points, self.groups, self.dof = points, groups, dof
        self.norm_y = GroupNorm(NORM_GROUPS, guide_channels) if norm else nn.Identity()
        self.norm_x = GroupNorm(NORM_GROUPS, channels) if norm else nn.Identity()
        self.q = nn.Conv2d(guide_channels, groups * embedding, 1, bias=bias)
        self.k = nn.Conv2d(channels, groups * embedding, 1, bias=bias)
        offsets = 2 * points * groups * (scale * scale if dof == "s2" else 1)
        self.offset = nn.Conv2d(channels, offsets, 1, bias=bias)
        _normal(self)

    def set_offsets(self, reach: str, generator: torch.Generator) -> None:
        """Draw the weights of the offsets, so that these are as large as in use.

        Args:
            reach: "trained" for 1 low-resolution pixel, about the window of a 3x3 kernel, "max" for 4; root mean square on
                features of unit variance.
            generator: of the random numbers.
        """
        factor = 1 if reach == "trained" else 4
        with torch.no_grad():
            self.offset.weight.normal_(0, factor * self.offset.in_channels**-0.5, generator=generator)

    def positions(self, normed: Float[Tensor, "B C H W"]) -> Float[Tensor, "B G P sH sW 2"]:
        """Predict the points (x, y) that each output pixel reads, in low-resolution pixels.

        Args:
            normed: norm_x(x).
        """
        return child_points(self.offset(normed), self.groups, self.scale, self.dof == "s2")

    def upsample(self, x: Float[Tensor, "B C H W"], guide: Float[Tensor, "B Cy sH sW"]) -> Float[Tensor, "B C sH sW"]:
        normed, guide = self.norm_x(x), self.norm_y(guide)
        layers, each = (self.q, self.k, self.offset), self.dof == "s2"
        return guided_attention(x, normed, guide, *layers, self.scale, self.groups, each, backend=self.backend)
