"""How alike each pixel is to its neighbours: cosines, without weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from upbench.ops.registration import numel, register


@register(
    "local_similarity(Tensor x, int kernel, int dilation) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: (args[0] ** 2 - 1) * numel(shapes[0]),
)
def _local_similarity(x: Tensor, kernel: int, dilation: int) -> Tensor:
    b, c, h, w = x.shape
    unit = F.normalize(x, dim=1, eps=1e-8)
    taps = F.unfold(unit, kernel, dilation=dilation, padding=kernel // 2 * dilation).view(b, c, -1, h, w)
    centre = kernel * kernel // 2
    others = torch.cat((taps[:, :, :centre], taps[:, :, centre + 1 :]), 2)
    return (others * unit.unsqueeze(2)).sum(1)


def local_similarity(x: Tensor, kernel: int, dilation: int) -> Tensor:
    """Return the cosine of every pixel with those of the window around it but itself.

    Args:
        x: [B, C, H, W].
        kernel: side of the window in taps, odd.
        dilation: steps between taps, in pixels.

    Returns:
        [B, kernel^2 - 1, H, W]; zero where the neighbour is outside the map or zero.

    MACs: kernel^2 - 1 per value, class gather. Source: FreqFusion, local similarity guided sampling.
    """
    return _local_similarity(x, kernel, dilation)
