"""Modulation: nearest upsampling, each output value scaled by an index map."""

from __future__ import annotations

from torch import Tensor

from upbench.ops.registration import numel, register


@register(
    "modulate(Tensor x, Tensor index, int scale) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: numel(shapes[-1]),
)
def _modulate(x: Tensor, index: Tensor, scale: int) -> Tensor:
    b, c, h, w = x.shape
    # Broadcasting over the sub-pixels saves the copy that upsampling x would be.
    parts = index.reshape(b, index.shape[1], h, scale, w, scale)
    return (x[:, :, :, None, :, None] * parts).reshape(b, c, h * scale, w * scale)


def modulate(x: Tensor, index: Tensor, scale: int) -> Tensor:
    """Each output pixel's parent, times the index of that pixel.

    x: [B, C, H, W]; index: [B, C, sH, sW], or [B, 1, sH, sW] for all channels -> [B, C, sH, sW]. Integer scale.
    out[c, i', j'] = index[c, i', j'] * x[c, i' // s, j' // s].
    MACs: one per output value, class gather. Source: IndexNet, guided upsampling.
    """
    return _modulate(x, index, scale)
