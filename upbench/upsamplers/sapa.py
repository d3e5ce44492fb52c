"""SAPA: similarity-aware point affiliation (Liu et al.; -I and -B NeurIPS 2022, -D its journal extension)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upbench.ops import (
    attends,
    deform_assemble,
    deform_similarity,
    guided_attend,
    interpolate,
    moved_points,
    output_size,
    parents,
    resolve,
    softmax_taps,
    window_assemble,
    window_similarity,
)
from upbench.ops._why_not import autocasted
from upbench.upsamplers._base import GroupNorm, Upsampler, pointwise_rows

NORM_GROUPS = 32


def _attend_window(query: Tensor, keys: Tensor, values: Tensor, kernel: int, scale: int, backend: str) -> Tensor:
    """Attention of each query [B, d, sH, sW] over the window of its parent: keys [B, d, H, W], values [B, C, H, W]."""
    backend = resolve("window_assemble", backend, *autocasted(values, query))
    logits = window_similarity(query, keys, kernel, scale, backend=backend)
    weights = (softmax_taps if backend == "fused" else F.softmax)(logits, dim=1).to(values.dtype)
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
    fused_ops = ("window_similarity", "window_assemble")
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
    fused_ops = ("window_similarity", "window_assemble")
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
        backend = resolve("window_assemble", self.backend, *autocasted(x, guide))
        project = pointwise_rows if backend == "fused" else nn.Module.__call__
        query, keys = project(self.q, self.norm_y(guide)), project(self.k, self.norm_x(x))
        return _attend_window(query, keys, x, self.k_up, self.scale, backend)


class SAPADynamic(Upsampler):
    """SAPA-D: as SAPA-B, but over points that move away from the parent by predicted offsets, eq. 8.

    x: [B, C, H, W], guide: [B, Cy, sH, sW] -> [B, C, sH, sW]; integer scale, groups divide C; norm needs 32 to
    divide C and Cy. Each group has its own points, embedding and softmax.
    position = parent + offset(norm_x(x)), in low-resolution pixels and unbounded; what lies outside the map is zero.
    dof: "s2" predicts an offset for each sub-pixel (pixel shuffle), 1 one for all s^2 (nearest). Zero offsets give
    nearest interpolation. State dict: that of SAPA-B and offset.*; initialised likewise.
    """

    guided = True
    fused_ops = ("deform_similarity", "deform_assemble")
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
        b, _, h, w = normed.shape
        height, width = output_size(h, w, self.scale)
        offset = self.offset(normed)
        if self.dof == "s2":
            offset = F.pixel_shuffle(offset, self.scale)
        else:
            offset = interpolate(offset, height, width, "nearest")
        base = parents(h, w, self.scale, normed)
        offset = offset.view(b, self.groups, self.points, 2, height, width)
        return (offset.to(base.dtype) + base).permute(0, 1, 2, 4, 5, 3)

    def _rows(self, normed: Tensor) -> tuple[Tensor, Tensor]:
        """From one product of matrices: the keys, [B, d, H, W], channels-last, and the offsets for `moved_points`."""
        b, _, h, w = normed.shape
        each, of = 2 * self.groups * self.points, self.scale**2 if self.dof == "s2" else 1
        # Released channels are (group, point, (x, y), sub-pixel): taken as (sub-pixel, (x, y), group, point) here.
        order = torch.arange(each * of, device=normed.device).view(-1, 2, of).permute(2, 1, 0).flatten()
        weight = torch.cat((self.k.weight, self.offset.weight[order])).flatten(1)
        bias = None
        if self.k.bias is not None and self.offset.bias is not None:
            bias = torch.cat((self.k.bias, self.offset.bias[order]))
        rows = F.linear(normed.flatten(2).transpose(1, 2), weight, bias).view(b, h, w, -1)
        keys, offsets = rows.split((self.k.out_channels, each * of), dim=3)
        return keys.permute(0, 3, 1, 2), offsets.unflatten(3, (of, 2, self.groups, self.points))

    def upsample(self, x: Tensor, guide: Tensor) -> Tensor:
        normed, guide = self.norm_x(x), self.norm_y(guide)
        backend = resolve("deform_assemble", self.backend, *autocasted(x, guide))
        fused = backend == "fused"
        if fused and x.device.type == "cpu":
            keys, offsets = self._rows(normed)
            if attends(x, keys, guide, self.q.weight):
                return guided_attend(x, keys, guide, self.q.weight, self.q.bias, offsets, self.scale, self.groups)
            positions = moved_points(offsets, self.scale)
        else:
            positions = self.positions(normed)
            keys = (pointwise_rows if fused else nn.Module.__call__)(self.k, normed)
        query = (pointwise_rows if fused else nn.Module.__call__)(self.q, guide)
        logits = deform_similarity(query, keys, positions, "zeros", self.groups, backend=backend)
        weights = (softmax_taps if fused else F.softmax)(logits, dim=2).to(x.dtype)
        return deform_assemble(x, weights, positions, "zeros", backend=backend)
