"""Box filter: the mean over a square window."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from upbench.ops.dispatch import compute
from upbench.ops.registration import numel, register


@register(
    "box_mean(Tensor x, int radius) -> Tensor",
    kind="conv",
    macs=lambda shapes, args: 2 * (2 * args[0] + 1) * numel(shapes[-1]),
)
def _box_mean(x: Float[Tensor, "B C H W"], radius: int) -> Float[Tensor, "B C H W"]:
    side = 2 * radius + 1
    # Pooling divides by the local count itself and, unlike a convolution, is not cast to half by autocast.
    rows = F.avg_pool2d(x, (1, side), stride=1, padding=(0, radius), count_include_pad=False)
    return F.avg_pool2d(rows, (side, 1), stride=1, padding=(radius, 0), count_include_pad=False)


def box_mean(x: Float[Tensor, "B C H W"], radius: int, *, backend: str = "eager") -> Float[Tensor, "B C H W"]:
    """Take the mean over the (2 radius + 1)^2 pixels around each pixel, those outside the map left out.

    Args:
        x: the map.
        radius: pixels from the centre of the window to its side.
        backend: eager (two poolings), fused (on a CPU one pass over every plane) or auto.

    Returns:
        The means: what a zero-padded convolution with ones gives, divided by the local count.

    Raises:
        BackendError: when the backend that was asked for is unknown.

    MACs: 2 (2 radius + 1) per value, class conv: what a row and a column convolution cost, as ReSFU's release does it.
    """
    return compute("box_mean", backend, _box_mean, x, radius, optional=True)
