"""LDA-AQU: adaptive query-guided upsampling via local deformable attention (Du et al., ACM MM 2024)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upbench.ops import (
    add_position,
    attends,
    coordinate_dtype,
    deform_assemble,
    deform_similarity,
    lattice,
    offset_attend,
    output_size,
    point_assemble,
    point_similarity,
    predicted_points,
    resize_map,
    resolve,
    rows_last,
    sample_points,
    softmax_taps,
)
from upbench.upsamplers._base import Conv2d, Upsampler, autocasts, no_autocast, xavier


class ChannelNorm(nn.Module):
    """Layer norm over the channels of a map, in its dtype. x: [B, C, H, W]. State dict: norm.{weight,bias}."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.rows(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).contiguous()

    def rows(self, rows: Tensor) -> Tensor:
        """The same over the last dimension. rows: [..., C]."""
        weight, bias = self.norm.weight.to(rows.dtype), self.norm.bias.to(rows.dtype)
        return F.layer_norm(rows, self.norm.normalized_shape, weight, bias, self.norm.eps)


class LDAAQU(Upsampler):
    """Attention of an interpolated query over k_u x k_u points around each output pixel, moved by predicted offsets.

    x: [B, C, H, W] -> [B, C, floor(H*scale), floor(W*scale)]; any scale of at least 1.
    position = (output pixel + tap + theta * tanh(predictor(query))) * (H - 1) / (H' - 1), zero outside the map;
    out = sum over taps of softmax(query . (key + embedding) / sqrt(d)) * x, eq. 6-11.
    coord: "output" measures taps and theta in output pixels as the release does, "input" in input pixels as the
    paper writes: position = output pixel * (H - 1) / (H' - 1) + tap + theta * tanh(.).
    State dict: the released keys; the embedding is relative_position_bias_table [1, heads, 1, k_u^2, hidden / heads].
    Initialised as the release's init_weights: Xavier-uniform, biases 0, last offset layer 0, embedding N(0, 0.02).
    """

    fused_ops = ("deform_similarity", "deform_assemble")

    def __init__(
        self,
        channels: int,
        scale: float = 2,
        *,
        theta: float = 11,
        groups: int = 2,
        reduction: int = 4,
        k_u: int = 3,
        k_e: int = 3,
        heads: int = 1,
        position_bias: bool = True,
        coord: str = "output",
    ) -> None:
        super().__init__()
        self.channels, self.scale, self.theta, self.groups = channels, scale, theta, groups
        self.k_u, self.heads, self.coord = k_u, heads, coord
        self.hidden = channels // reduction
        taps, per_group = k_u * k_u, self.hidden // groups
        self.layer_norm = ChannelNorm(channels)
        self.proj_q = Conv2d(channels, self.hidden, 1, bias=False)
        self.proj_k = nn.Conv2d(channels, self.hidden, 1, bias=False)
        last = Conv2d(per_group, 2 * taps, k_e, padding=k_e // 2)
        self.conv_offset = nn.Sequential(
            Conv2d(per_group, per_group, 3, padding=1, groups=per_group, bias=False),
            ChannelNorm(per_group),
            nn.GELU(),
            last,
        )
        table = nn.init.trunc_normal_(torch.empty(1, heads, 1, taps, self.hidden // heads), std=0.02)
        self.relative_position_bias_table = nn.Parameter(table) if position_bias else None
        xavier(self)
        nn.init.zeros_(last.weight)

    def set_offsets(self, reach: str, generator: torch.Generator) -> None:
        """Offsets of theta * tanh(n) with n of standard deviation 0.5 ("trained": 0.42 theta, root mean square), or at
        the bound, plus or minus theta ("max")."""
        last: nn.Conv2d = self.conv_offset[-1]  # type: ignore[assignment]
        # The layer norm and GELU before it leave a second moment of 0.425.
        fan_in = last.in_channels * last.kernel_size[0] ** 2
        factor = 0.5 if reach == "trained" else 100.0
        with torch.no_grad():
            last.weight.normal_(0, factor * (0.425 * fan_in) ** -0.5, generator=generator)

    def points(self, query: Tensor, height: int, width: int) -> Tensor:
        """Low-resolution positions read by each output pixel: [B, groups, k_u^2, H', W', 2], x first.

        query: [B, hidden, H', W']; height, width: size of the low-resolution map.
        """
        b, _, out_h, out_w = query.shape
        raw = self.conv_offset(query.reshape(b * self.groups, -1, out_h, out_w))
        pixels = lattice(out_h, out_w, query)
        # [B, G, k_u^2, (y, x), H', W'] -> x first
        raw = raw.view(b, self.groups, self.k_u**2, 2, out_h, out_w).flip(3).to(pixels.dtype)
        reach = (self.k_u - 1) // 2
        taps = (lattice(self.k_u, self.k_u, query) - reach).flatten(1).t()
        moves = self.theta * raw.tanh() + taps.view(1, 1, -1, 2, 1, 1)
        if self.coord == "output":
            points = _to_low(pixels + moves, height, width, out_h, out_w)
        else:
            points = _to_low(pixels, height, width, out_h, out_w) + moves
        return points.permute(0, 1, 2, 4, 5, 3)

    def upsample(self, x: Tensor) -> Tensor:
        if resolve("deform_assemble", self.backend, x) == "fused":
            return self._fused(x)
        _, _, h, w = x.shape
        out_h, out_w = output_size(h, w, self.scale)
        # The query decides where is read, and theta makes eleven pixels of its rounding: it is float32 in any dtype.
        dtype = coordinate_dtype(x.dtype)
        with no_autocast(x):
            normed = self.layer_norm(x.to(dtype))
            query = resize_map(self.proj_q(normed), out_h, out_w, align_corners=True)
            points = self.points(query, h, w)
        keys = sample_points(self.proj_k(normed.to(x.dtype)), points, "zeros")
        if self.relative_position_bias_table is not None:
            # [1, heads, 1, taps, d] -> [1, hidden, taps, 1, 1]
            table = self.relative_position_bias_table.squeeze(2).transpose(2, 3).flatten(1, 2)
            keys = keys + table[..., None, None]
        logits = point_similarity(query.to(keys.dtype), keys, self.heads) * (self.hidden // self.heads) ** -0.5
        weights = F.softmax(logits, dim=2).to(x.dtype)
        return point_assemble(weights, sample_points(x, points, "zeros"))

    def _fused(self, x: Tensor) -> Tensor:
        """The same with rows of channels and rows of taps: fused ops read them without copies."""
        size, inward = output_size(x.shape[2], x.shape[3], self.scale), self.coord == "input"
        predictor, eps = self._predictor()
        table, factor = self.relative_position_bias_table, (self.hidden // self.heads) ** -0.5
        embedding = None if table is None else table[0, :, 0]
        if attends(x, *self.parameters()):
            norm, projections = self.layer_norm.norm, (self.proj_q.weight, self.proj_k.weight)
            given = (embedding, eps, self.theta, inward, self.heads, factor, size)
            return offset_attend(x, (norm.weight, norm.bias, norm.eps), projections, predictor, *given)
        x = rows_last(x)
        dtype = coordinate_dtype(x.dtype)
        with no_autocast(x):
            normed = self.layer_norm.rows(x.permute(0, 2, 3, 1).to(dtype))
            joint = x.dtype == dtype and not autocasts(x)
            weight = torch.cat((self.proj_q.weight, self.proj_k.weight)) if joint else self.proj_q.weight
            query, *rest = F.linear(normed, weight.flatten(1).to(dtype)).permute(0, 3, 1, 2).split(self.hidden, 1)
            query = resize_map(query, *size, align_corners=True)
            points = predicted_points(query, *predictor, eps, self.theta, inward, *x.shape[2:])
        if not joint:
            rest = [F.linear(normed.to(x.dtype), self.proj_k.weight.flatten(1)).permute(0, 3, 1, 2)]
        keys = rest[0]
        query = query.to(keys.dtype)
        logits = deform_similarity(query, keys, points, "zeros", self.heads, backend="fused")
        if embedding is not None:
            logits = add_position(logits, query, embedding)
        weights = softmax_taps(logits * factor, dim=2).to(x.dtype)
        return deform_assemble(x, weights, points, "zeros", backend="fused")

    def _predictor(self) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor, Tensor], float]:
        """The numbers of `conv_offset` as `predicted_points` takes them: weights, and the eps of its norm."""
        first: nn.Conv2d
        outer: ChannelNorm
        last: nn.Conv2d
        first, outer, _, last = self.conv_offset  # type: ignore[assignment]
        norm = outer.norm
        assert last.bias is not None  # a convolution's may be absent; this one's never is
        return (first.weight, norm.weight, norm.bias, last.weight, last.bias), norm.eps


def _to_low(points: Tensor, height: int, width: int, out_h: int, out_w: int) -> Tensor:
    """Output pixels as low-resolution pixels, corner on corner. points: [..., 2, H', W'], x first.

    Multiplied before it is divided, so that the last pixel falls on the last exactly.
    """
    x, y = points.unbind(-3)
    return torch.stack((x * (width - 1) / max(out_w - 1, 1), y * (height - 1) / max(out_h - 1, 1)), dim=-3)
