"""What a guide does to upsampled values: a gate mixes it in, an index map scales them."""

from __future__ import annotations

from torch import Tensor

from upbench.ops.dispatch import compute
from upbench.ops.registration import numel, register


@register(
    "gate_fuse(Tensor guide, Tensor up, Tensor gate) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: 2 * numel(shapes[-1]),
)
def _gate_fuse(guide: Tensor, up: Tensor, gate: Tensor) -> Tensor:
    return gate * guide + (1 - gate) * up


def gate_fuse(guide: Tensor, up: Tensor, gate: Tensor, *, reuse_up: bool = False, backend: str = "eager") -> Tensor:
    """The guide where the gate is 1, the upsampled map where it is 0, and their mixture between.

    guide, up: [B, C, sH, sW]; gate: [B, 1, sH, sW] -> [B, C, sH, sW].
    reuse_up: the result may be written over `up`, which the caller needs no more.
    MACs: 2 per output value, class gather. Source: FADE, the gating mechanism.
    """
    return compute("gate_fuse", backend, _mixture, guide, up, gate, reuse_up, optional=True)


def _mixture(guide: Tensor, up: Tensor, gate: Tensor, reuse_up: bool) -> Tensor:
    return _gate_fuse(guide, up, gate)


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
