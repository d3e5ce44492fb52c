"""LA-AQU: adaptive query-guided upsampling via local attention (Du et al., ACM MM 2024, sec. 3.2.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upbench.ops import output_size, point_assemble, point_similarity, read_windows, resize_map
from upbench.upsamplers._base import Upsampler, xavier
from upbench.upsamplers.ldaaqu import ChannelNorm


class LAAQU(Upsampler):
    """Attention of an interpolated query over the k_u x k_u input pixels around each output pixel's parent.

    x: [B, C, H, W] -> [B, C, floor(H*scale), floor(W*scale)]; any scale of at least 1.
    out[p] = sum over taps t of softmax_t(query(p) . (key(s_t) + embedding_t) / sqrt(d)) * x(s_t),
    s_t = psi(p) + offset(t), psi(p) = (floor(i' * H / H'), floor(j' * W / W')).

    The paper's: whole, uniform neighbours of psi(p) in input pixels (eq. 8), x itself as values (eq. 9), a query
    interpolated bilinearly (sec. 3.2.2), 1 / sqrt(d) (eq. 13). Eq. 7 rounded down is our psi at whole scales, but
    for the last output row and column, where it names a pixel outside the map.
    Ours, as in the released LDA-AQU because nothing was released for LA-AQU: layer norm before query and key, no
    biases, the query resized with align_corners=True, the learned embedding of each tap, and taps outside the map
    that are zero but keep their share of the softmax.
    State dict and initialisation: those of LDAAQU without its offset predictor.
    """

    def __init__(
        self,
        channels: int,
        scale: float = 2,
        *,
        reduction: int = 4,
        k_u: int = 3,
        heads: int = 1,
        position_bias: bool = True,
    ) -> None:
        super().__init__()
        self.channels, self.scale, self.k_u, self.heads = channels, scale, k_u, heads
        self.hidden = channels // reduction
        self.layer_norm = ChannelNorm(channels)
        self.proj_q = nn.Conv2d(channels, self.hidden, 1, bias=False)
        self.proj_k = nn.Conv2d(channels, self.hidden, 1, bias=False)
        table = nn.init.trunc_normal_(torch.empty(1, heads, 1, k_u * k_u, self.hidden // heads), std=0.02)
        self.relative_position_bias_table = nn.Parameter(table) if position_bias else None
        xavier(self)

    def upsample(self, x: Tensor) -> Tensor:
        height, width = output_size(x.shape[2], x.shape[3], self.scale)
        normed = self.layer_norm(x)
        query = resize_map(self.proj_q(normed), height, width, align_corners=True)
        keys = read_windows(self.proj_k(normed), self.k_u, height, width)
        if self.relative_position_bias_table is not None:
            # [1, heads, 1, taps, d] -> [1, hidden, taps, 1, 1]
            table = self.relative_position_bias_table.squeeze(2).transpose(2, 3).flatten(1, 2)
            keys = keys + table[..., None, None]
        logits = point_similarity(query, keys, self.heads) * (self.hidden // self.heads) ** -0.5
        weights = F.softmax(logits, dim=2).to(x.dtype)
        return point_assemble(weights, read_windows(x, self.k_u, height, width))
