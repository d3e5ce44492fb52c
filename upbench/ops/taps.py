"""Memory orders that the fused ops read without a copy: rows of channels, rows of taps."""

from __future__ import annotations

import torch
from torch import Tensor

from upbench.ops.fused import channels_last


def rows_last(x: Tensor) -> Tensor:
    """The map [B, C, H, W] in the memory order in which the fused ops of its device read: on a CPU channels-last."""
    return x.contiguous(memory_format=torch.channels_last) if channels_last(x.device) else x


def softmax_taps(logits: Tensor, dim: int) -> Tensor:
    """Softmax over the taps, dimension `dim`, which come to lie last in memory; logits of any shape."""
    if not channels_last(logits.device):
        return logits.softmax(dim)
    return logits.movedim(dim, -1).softmax(-1).movedim(-1, dim)
