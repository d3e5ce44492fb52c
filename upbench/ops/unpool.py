"""Max unpooling: a value goes back to where the largest of its window was."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from upbench.ops.registration import register


@register("max_unpool(Tensor x, Tensor guide, int kernel) -> Tensor", kind="gather", macs=lambda shapes, args: 0)
def _max_unpool(x: Tensor, guide: Tensor, kernel: int) -> Tensor:
    index = F.max_pool2d(guide, kernel, return_indices=True)[1]
    # As F.max_unpool2d, whose check of the output size torch.jit.trace cannot take.
    return torch.ops.aten.max_unpool2d(x, index, guide.shape[2:])


def max_unpool(x: Tensor, guide: Tensor, kernel: int) -> Tensor:
    """Write every value of x where the largest guide value of its window is; zero everywhere else.

    Args:
        x: [B, C, H, W].
        guide: [B, C, H', W'], H = H' // kernel, W = W' // kernel; it gets no gradient.
        kernel: side of the window in high-resolution pixels.

    Returns:
        [B, C, H', W']; of equal values the first in row-major order counts.

    No MACs. Source: SegNet.
    """
    return _max_unpool(x, guide, kernel)
