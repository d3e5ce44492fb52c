"""What a guide does to upsampled values: a gate mixes it in, an index map scales them."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from upbench.ops.dispatch import compute
from upbench.ops.registration import numel, register


@register(
    "gate_fuse(Tensor guide, Tensor up, Tensor gate) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: 2 * numel(shapes[-1]),
)
def _gate_fuse(
    guide: Float[Tensor, "B C oH oW"], up: Float[Tensor, "B C oH oW"], gate: Float[Tensor, "B 1 oH oW"]
) -> Float[Tensor, "B C oH oW"]:
    return gate * guide + (1 - gate) * up


def gate_fuse(
    guide: Float[Tensor, "B C oH oW"],
    up: Float[Tensor, "B C oH oW"],
    gate: Float[Tensor, "B 1 oH oW"],
    *,
    reuse_up: bool = False,
    backend: str = "eager",
) -> Float[Tensor, "B C oH oW"]:
    """Mix the guide into the upsampled map: the guide where the gate is 1, the map where it is 0.

    Args:
        guide: the high-resolution guide.
        up: the upsampled map.
        gate: the share of the guide at every pixel, from 0 to 1.
        reuse_up: whether the result may be written over `up`, because the caller does not need it any more.
        backend: eager, fused (with `reuse_up`, where no gradient is recorded) or auto.

    Returns:
        gate * guide + (1 - gate) * up.

    Raises:
        BackendError: when the backend that was asked for is unknown.

    MACs: 2 per output value, class gather. Source: FADE, the gating mechanism.
    """
    return compute("gate_fuse", backend, _mixture, guide, up, gate, reuse_up, optional=True)


def _mixture(
    guide: Float[Tensor, "B C oH oW"], up: Float[Tensor, "B C oH oW"], gate: Float[Tensor, "B 1 oH oW"], reuse_up: bool
) -> Float[Tensor, "B C oH oW"]:
    return _gate_fuse(guide, up, gate)


@register(
    "modulate(Tensor x, Tensor index, int scale) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: numel(shapes[-1]),
)
def _modulate(
    x: Float[Tensor, "B C H W"], index: Float[Tensor, "B N {scale}*H {scale}*W"], scale: int
) -> Float[Tensor, "B C {scale}*H {scale}*W"]:
    b, c, h, w = x.shape
    # Broadcasting over the sub-pixels saves the copy that upsampling x would be.
    parts = index.reshape(b, index.shape[1], h, scale, w, scale)
    return (x[:, :, :, None, :, None] * parts).reshape(b, c, h * scale, w * scale)


def modulate(
    x: Float[Tensor, "B C H W"], index: Float[Tensor, "B N {scale}*H {scale}*W"], scale: int
) -> Float[Tensor, "B C {scale}*H {scale}*W"]:
    """Multiply each output pixel's parent by the index of that pixel.

    Args:
        x: the low-resolution map.
        index: the index map of N = C channels, or of one for all.
        scale: output pixels per low-resolution pixel.

    Returns:
        out[c, i', j'] = index[c, i', j'] * x[c, i' // s, j' // s].

    MACs: one per output value, class gather. Source: IndexNet, guided upsampling.
    """
    return _modulate(x, index, scale)
