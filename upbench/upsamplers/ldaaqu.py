"""LDA-AQU: adaptive query-guided upsampling via local deformable attention (Du et al., ACM MM 2024)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops import convolve, offset_attention, output_size, points_around
from upbench.upsamplers._base import Upsampler, xavier


class ChannelNorm(nn.Module):
    """Layer norm over the channels of a map, in its dtype. State dict: norm.{weight,bias}."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return self.rows(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).contiguous()

    def rows(self, rows: Float[Tensor, "*pixels C"]) -> Float[Tensor, "*pixels C"]:
        """Apply the same norm to a map whose channels are its last dimension."""
        if self.norm.weight.dtype == rows.dtype:
            return self.norm(rows)  # so that hooks on it run
        weight, bias = self.norm.weight.to(rows.dtype), self.norm.bias.to(rows.dtype)
        return F.layer_norm(rows, self.norm.normalized_shape, weight, bias, self.norm.eps)


class Predictor(nn.Sequential):
    """Layers that compute in the dtype of the query, whatever the dtype of their weights."""

    def forward(self, x: Float[Tensor, "B d oH oW"]) -> Float[Tensor, "B o oH oW"]:
        for layer in self:
            x = convolve(layer, x) if isinstance(layer, nn.Conv2d) else layer(x)
        return x


class LDAAQU(Upsampler):
    """Attends from an interpolated query to k_u x k_u points around each output pixel, moved by predicted offsets.

    Args:
        channels: channels C of x.
        scale: output pixels per low-resolution pixel, any number of at least 1; sizes are rounded down.
        theta: bound of the offsets, in the pixels that `coord` says.
        groups: groups of the hidden channels with offsets each.
        reduction: C / hidden channels of query and key.
        k_u: side of the neighbourhood that is attended to, odd.
        k_e: side of the offset predictor's last kernel, odd.
        heads: attention heads.
        position_bias: whether the keys have a learned embedding of each tap.
        coord: "output" measures taps and theta in output pixels as the release does, "input" in low-resolution pixels as
            the paper writes: position = output pixel * (H - 1) / (H' - 1) + tap + theta * tanh(.).

    position = (output pixel + tap + theta * tanh(predictor(query))) * (H - 1) / (H' - 1), zero outside the map;
    out = sum over taps of softmax(query . (key + embedding) / sqrt(d)) * x, eq. 6-11.
    State dict: the released keys; the embedding is relative_position_bias_table [1, heads, 1, k_u^2, hidden / heads].
    Initialised as the release's init_weights: Xavier-uniform, biases 0, last offset layer 0, embedding N(0, 0.02).
    """

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
        super().__init__(channels, scale)
        self.theta, self.groups, self.k_u, self.heads, self.coord = theta, groups, k_u, heads, coord
        self.hidden = channels // reduction
        taps, per_group = k_u * k_u, self.hidden // groups
        self.layer_norm = ChannelNorm(channels)
        self.proj_q = nn.Conv2d(channels, self.hidden, 1, bias=False)
        self.proj_k = nn.Conv2d(channels, self.hidden, 1, bias=False)
        last = nn.Conv2d(per_group, 2 * taps, k_e, padding=k_e // 2)
        self.conv_offset = Predictor(
            nn.Conv2d(per_group, per_group, 3, padding=1, groups=per_group, bias=False),
            ChannelNorm(per_group),
            nn.GELU(),
            last,
        )
        table = nn.init.trunc_normal_(torch.empty(1, heads, 1, taps, self.hidden // heads), std=0.02)
        self.relative_position_bias_table = nn.Parameter(table) if position_bias else None
        xavier(self)
        nn.init.zeros_(last.weight)

    def set_offsets(self, reach: str, generator: torch.Generator) -> None:
        """Draw the last layer's weights, so that offsets are as large as in use.

        Args:
            reach: "trained" for theta * tanh(n) with n of standard deviation 0.5 (0.42 theta, root mean square), "max" for
                plus or minus theta, the bound.
            generator: of the random numbers.
        """
        last: nn.Conv2d = self.conv_offset[-1]  # type: ignore[assignment]
        # The layer norm and GELU before it leave a second moment of 0.425.
        fan_in = last.in_channels * last.kernel_size[0] ** 2
        factor = 0.5 if reach == "trained" else 100.0
        with torch.no_grad():
            last.weight.normal_(0, factor * (0.425 * fan_in) ** -0.5, generator=generator)

    def points(self, query: Float[Tensor, "B hidden oH oW"], height: int, width: int) -> Float[Tensor, "B G T oH oW 2"]:
        """Predict the low-resolution positions (x, y) that each output pixel reads.

        Args:
            query: the interpolated query.
            height: rows of the low-resolution map.
            width: columns of the low-resolution map.
        """
        return points_around(self.conv_offset, query, self.theta, self.coord == "input", height, width)

    def upsample(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C oH oW"]:
        table = self.relative_position_bias_table
        return offset_attention(
            x,
            self.layer_norm,
            self.proj_q,
            self.proj_k,
            self.conv_offset,
            None if table is None else table[0, :, 0],
            self.theta,
            self.coord == "input",
            self.heads,
            output_size(x.shape[2], x.shape[3], self.scale),
            backend=self.backend,
        )
