"""How alike each pixel is to its neighbours: cosines, without weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from upbench.ops.dispatch import compute
from upbench.ops.registration import numel, register

EPS = 1e-8
"""The least norm that a pixel is divided by."""


@register(
    "local_similarity(Tensor x, int kernel, int dilation) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: (args[0] ** 2 - 1) * numel(shapes[0]),
)
def _local_similarity(x: Tensor, kernel: int, dilation: int) -> Tensor:
    return neighbour_cosines(x, kernel, dilation)


def neighbour_cosines(x: Float[Tensor, "B C H W"], kernel: int, dilation: int) -> Float[Tensor, "B T H W"]:
    """Compute `local_similarity` of torch's own ops, with all windows at once.

    Args:
        x: the map.
        kernel: side of the window in taps, odd.
        dilation: steps between taps, in pixels.
    """
    b, c, h, w = x.shape
    unit = F.normalize(x, dim=1, eps=EPS)
    taps = F.unfold(unit, kernel, dilation=dilation, padding=kernel // 2 * dilation).view(b, c, -1, h, w)
    centre = kernel * kernel // 2
    others = torch.cat((taps[:, :, :centre], taps[:, :, centre + 1 :]), 2)
    return (others * unit.unsqueeze(2)).sum(1)


def local_similarity(
    x: Float[Tensor, "B C H W"], kernel: int, dilation: int, *, backend: str = "eager"
) -> Float[Tensor, "B T H W"]:
    """Return the cosine of every pixel with those of the window around it but itself.

    Args:
        x: the map.
        kernel: side of the window in taps, odd.
        dilation: steps between taps, in pixels.
        backend: eager (unfold), fused (no copy of the windows) or auto.

    Returns:
        T = kernel^2 - 1 cosines a pixel; zero where the neighbour is outside the map or zero.

    Raises:
        BackendError: when the backend that was asked for cannot compute it.

    MACs: kernel^2 - 1 per value, class gather. Source: FreqFusion, local similarity guided sampling.
    """
    return compute("local_similarity", backend, _local_similarity, x, kernel, dilation)
