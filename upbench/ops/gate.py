"""Gates: a weight per output pixel that mixes the upsampled map with the guide."""

from __future__ import annotations

from torch import Tensor

from upbench.ops._library import numel, register


@register(
    "gate_fuse(Tensor guide, Tensor up, Tensor gate) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: 2 * numel(shapes[-1]),
)
def _gate_fuse(guide: Tensor, up: Tensor, gate: Tensor) -> Tensor:
    return gate * guide + (1 - gate) * up


def gate_fuse(guide: Tensor, up: Tensor, gate: Tensor) -> Tensor:
    """The guide where the gate is 1, the upsampled map where it is 0, and their mixture between.

    guide, up: [B, C, sH, sW]; gate: [B, 1, sH, sW] -> [B, C, sH, sW].
    MACs: 2 per output value, class gather. Source: FADE, the gating mechanism.
    """
    return _gate_fuse(guide, up, gate)
