"""Attention of output pixels to features whose weights, averaged over the heads, assemble the features themselves."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from upbench.ops import averaged_attention, convolution


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer over the channels of a map, as the 1x1 convolution that it is. x: [B, I, H, W] -> [B, O, H, W]."""
    return F.conv2d(x, weight[..., None, None], bias)


def rms(norm: nn.RMSNorm, x: Tensor) -> Tensor:
    """An RMS norm over the channels of a map."""
    return norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class CrossAttention(nn.Module):
    """query: [B, d, H', W'], keys: [B, d, H, W], x: [B, C, H, W] -> [B, C, H', W'].

    weights = softmax(W_q rms(query) . W_k rms(keys) / sqrt(d / heads)) for each head; out = mean over heads times x.
    The released module is torch's multi-head attention, of which only the weights are used: values are projected,
    weighed and projected again, and dropped. So is it here in the eager form, and counted in any: the parameters are dead.
    State dict: norm_q, norm_k, norm_v (with value_channels), attention.{in_proj_weight or {q,k,v}_proj_weight,
    in_proj_bias, out_proj}.
    """

    def __init__(self, dim: int, heads: int, value_channels: int | None) -> None:
        super().__init__()
        self.heads = heads
        self.norm_q = nn.RMSNorm(dim)
        self.norm_k = nn.RMSNorm(dim)
        if value_channels is not None:
            self.norm_v = nn.RMSNorm(value_channels)
        # torch keeps one matrix where the values have as many channels as the keys, and three where not.
        self.attention = nn.MultiheadAttention(dim, heads, vdim=value_channels, batch_first=True)

    def projections(self) -> tuple[Tensor, Tensor, Tensor]:
        """The matrices of queries, keys and values."""
        held = self.attention
        if held.in_proj_weight is not None:
            q, k, v = held.in_proj_weight.chunk(3)
            return q, k, v
        return held.q_proj_weight, held.k_proj_weight, held.v_proj_weight

    def queries(self, query: Tensor) -> Tensor:
        """The queries, normed and projected."""
        return linear(rms(self.norm_q, query), self.projections()[0], self.attention.in_proj_bias.chunk(3)[0])

    def forward(self, query: Tensor, keys: Tensor, x: Tensor, window: float = 0.0, backend: str = "auto") -> Tensor:
        return self.attend(self.queries(query), keys, x, window, backend)

    def attend(self, q: Tensor, keys: Tensor, x: Tensor, window: float = 0.0, backend: str = "auto") -> Tensor:
        """What `forward` returns, of queries that are normed and projected."""
        held = self.attention
        (_, w_k, w_v), (_, b_k, b_v) = self.projections(), held.in_proj_bias.chunk(3)
        keys = rms(self.norm_k, keys)
        k = linear(keys, w_k, b_k)
        values = linear(rms(self.norm_v, x) if hasattr(self, "norm_v") else keys, w_v, b_v)
        dead = (values, held.out_proj.weight, held.out_proj.bias)
        return averaged_attention(q, k, x, *dead, self.heads, window, backend=backend)


class CrossDecoder(nn.Module):
    """A 3x3 convolution of the query, then `CrossAttention`. State dict: conv2d.weight, cross_attn."""

    def __init__(self, dim: int, heads: int, value_channels: int | None) -> None:
        super().__init__()
        self.conv2d = nn.Conv2d(dim, dim, 3, padding=1, bias=False)
        self.cross_attn = CrossAttention(dim, heads, value_channels)

    def forward(self, query: Tensor, keys: Tensor, x: Tensor, window: float = 0.0, backend: str = "auto") -> Tensor:
        return self.cross_attn(convolution(self.conv2d, query, backend=backend), keys, x, window, backend)
