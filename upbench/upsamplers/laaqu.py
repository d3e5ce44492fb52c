"""LA-AQU: adaptive query-guided upsampling via local attention (Du et al., ACM MM 2024, sec. 3.2.1)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops import (
    add_position,
    conv1x1,
    output_size,
    resize_map,
    softmax_over_taps,
    window_assemble,
    window_head_similarity,
)
from upbench.upsamplers._base import Upsampler, xavier
from upbench.upsamplers.ldaaqu import ChannelNorm


class LAAQU(Upsampler):
    """Attends from an interpolated query to the k_u x k_u input pixels around each output pixel's parent.

    Args:
        channels: channels C of x.
        scale: output pixels per low-resolution pixel, any number of at least 1; sizes are rounded down.
        reduction: C / hidden channels of query and key.
        k_u: side of the neighbourhood that is attended to, odd.
        heads: attention heads.
        position_bias: whether the keys have a learned embedding of each tap.

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
        super().__init__(channels, scale)
        self.k_u, self.heads = k_u, heads
        self.hidden = channels // reduction
        self.layer_norm = ChannelNorm(channels)
        self.proj_q = nn.Conv2d(channels, self.hidden, 1, bias=False)
        self.proj_k = nn.Conv2d(channels, self.hidden, 1, bias=False)
        table = nn.init.trunc_normal_(torch.empty(1, heads, 1, k_u * k_u, self.hidden // heads), std=0.02)
        self.relative_position_bias_table = nn.Parameter(table) if position_bias else None
        xavier(self)

    def upsample(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C oH oW"]:
        height, width = output_size(x.shape[2], x.shape[3], self.scale)
        table, backend = self.relative_position_bias_table, self.backend
        # Its channels stay last in memory, as the norm leaves them.
        normed = self.layer_norm.rows(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        query = resize_map(conv1x1(self.proj_q, normed, backend=backend), height, width, align_corners=True)
        keys = conv1x1(self.proj_k, normed, backend=backend)
        logits = window_head_similarity(query, keys, self.k_u, self.heads, backend=backend)
        if table is not None:
            logits = add_position(logits, query, table[0, :, 0])
        logits = logits * (self.hidden // self.heads) ** -0.5
        weights = softmax_over_taps(logits, dim=2, backend=backend).to(x.dtype)
        return window_assemble(x, weights, self.k_u, backend=backend)
