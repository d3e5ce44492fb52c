"""Cosines of neighbours by the C kernel (`csrc/neighbours.h`), which reads the planes of the channels where they lie.

Without it the same is made of torch's ops, a tap at a time over some rows. Half precision is computed in float32.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from upbench.ops import thresholds
from upbench.ops.cpu import native, structs
from upbench.ops.fused_local_similarity import inverse_norms, neighbours, slope_weights
from upbench.ops.registration import LIBRARY, coordinate_dtype

VALUES = 2**20
"""Products that torch's form holds at once, where a row of the map has fewer."""
MOST_SIDE = 7
"""Taps along a side of the windows that the C kernel takes."""
PIECE = 8
"""Rows of the map that a thread takes at a time."""

Neighbours = structs.struct(
    "Neighbours",
    **dict.fromkeys(("x", "by", "out"), structs.ADDRESS),
    **dict.fromkeys(("height", "width", "channels", "side", "dilation", "compare", "wide"), structs.COUNT),
)


def similarity(x: Float[Tensor, "B C H W"], kernel: int, dilation: int) -> Float[Tensor, "B T H W"]:
    """Compute `ops.local_similarity`.

    Args:
        x: the map.
        kernel: side of the window in taps, odd.
        dilation: steps between taps, in pixels.
    """
    planes, inverse = _planes(x), inverse_norms(x)
    b, c, h, w = x.shape
    out = planes.new_empty((b, kernel * kernel - 1, h, w))
    if _run(planes, inverse, out, kernel, dilation, compare=True):
        return out.to(x.dtype)
    out.zero_()
    step, centre = max(thresholds.scaled(VALUES) // (b * c * w), 1), kernel * kernel // 2
    for tap, here, there in neighbours(kernel, dilation, h, w):
        if tap == centre:
            continue
        (rows, columns), (other_rows, other_columns) = here, there
        dots = out[:, tap - (tap > centre), rows, columns]
        for n in range(0, dots.shape[1], step):
            some = slice(n, n + step)
            left = planes[:, :, rows][:, :, some, columns]
            dots[:, some] = (left * planes[:, :, other_rows][:, :, some, other_columns]).sum(1)
        dots.mul_(inverse[:, *here]).mul_(inverse[:, *there])
    return out.to(x.dtype)


def slope(
    grad: Float[Tensor, "B T H W"],
    x: Float[Tensor, "B C H W"],
    alike: Float[Tensor, "B T H W"],
    kernel: int,
    dilation: int,
) -> Float[Tensor, "B C H W"]:
    """Compute the gradient of `similarity` in x.

    Args:
        grad: the gradient of the cosines.
        x: the map.
        alike: the cosines.
        kernel: side of the window in taps, odd.
        dilation: steps between taps, in pixels.
    """
    planes = _planes(x)
    weights = slope_weights(grad, alike, inverse_norms(x), kernel, dilation)
    out = torch.empty_like(planes)
    if not _run(planes, weights, out, kernel, dilation, compare=False):
        out.zero_()
        for tap, here, there in neighbours(kernel, dilation, *x.shape[2:]):
            out[:, :, *here].addcmul_(planes[:, :, *there], weights[:, tap : tap + 1, *here])
    return out.to(x.dtype)


def _planes(x: Tensor) -> Tensor:
    return x.to(coordinate_dtype(x.dtype)).contiguous()


def _run(x: Tensor, by: Tensor, out: Tensor, kernel: int, dilation: int, compare: bool) -> bool:
    """Let the C kernel write `out`, if it can; say whether it did."""
    if kernel > MOST_SIDE or not native.can_run_native(x, by, entry="neighbours"):
        return False
    by, (b, c, h, w) = by.contiguous(), x.shape
    wide = x.dtype == torch.float64
    job = Neighbours(height=h, width=w, channels=c, side=kernel, dilation=dilation, compare=compare, wide=wide)
    for image in range(b):
        job.x, job.by, job.out = (native.address(t, image) for t in (x, by, out))
        native.run_tiles("neighbours", job, h, c * h * w * kernel**2, PIECE)
    return True


LIBRARY.impl("local_similarity_fused", similarity, "CPU")
LIBRARY.impl("local_similarity_slope_fused", slope, "CPU")
