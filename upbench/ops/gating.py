"""Gates: a weight per output pixel that mixes the upsampled map with the guide."""

from __future__ import annotations

import torch
from torch import Tensor

from upbench.ops.registration import LIBRARY, OPS, Op, numel, register

ROWS = 16


@register(
    "gate_fuse(Tensor guide, Tensor up, Tensor gate) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: 2 * numel(shapes[-1]),
)
def _gate_fuse(guide: Tensor, up: Tensor, gate: Tensor) -> Tensor:
    return gate * guide + (1 - gate) * up


LIBRARY.define(
    "gate_fuse_fused_(Tensor guide, Tensor(a!) up, Tensor gate) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,)
)


def gate_fuse_(guide: Tensor, up: Tensor, gate: Tensor) -> None:
    """`gate_fuse` into `up`, for inference: no second map of the size of the output. Shapes and MACs as there."""
    torch.ops.upbench.gate_fuse_fused_(guide, up, gate)


def _gate_fuse_(guide: Tensor, up: Tensor, gate: Tensor) -> Tensor:
    if up.device.type == "cuda":
        up.lerp_(guide, gate)
        return _nothing(guide, up, gate)
    # A few rows at a time: the copy of the guide in the memory order of `up` stays in cache.
    for part in range(0, up.shape[2], ROWS):
        rows = slice(part, part + ROWS)
        mine = guide[:, :, rows].contiguous(memory_format=torch.channels_last)
        up[:, :, rows].lerp_(mine, gate[:, :, rows])
    return _nothing(guide, up, gate)


def _nothing(guide: Tensor, up: Tensor, gate: Tensor) -> Tensor:
    """What the op returns: an empty tensor, because a counter looks for the output of a node."""
    return up.new_empty(0)


LIBRARY.impl("gate_fuse_fused_", _gate_fuse_, "CompositeExplicitAutograd")
torch.library.register_fake("upbench::gate_fuse_fused_", _nothing, lib=LIBRARY)
OPS["upbench::gate_fuse_fused_"] = Op(
    "upbench::gate_fuse_fused_", "gather", lambda shapes, args: 2 * numel(shapes[1]), {"gate_fuse": 1}
)


def gate_fuse(guide: Tensor, up: Tensor, gate: Tensor) -> Tensor:
    """The guide where the gate is 1, the upsampled map where it is 0, and their mixture between.

    guide, up: [B, C, sH, sW]; gate: [B, 1, sH, sW] -> [B, C, sH, sW].
    MACs: 2 per output value, class gather. Source: FADE, the gating mechanism.
    """
    return _gate_fuse(guide, up, gate)
