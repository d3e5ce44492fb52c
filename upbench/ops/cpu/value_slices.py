"""Values of deformed points as the C kernel reads them fastest (`csrc/bfloat.h`): planes in slices of channels, without a copy before."""

from __future__ import annotations

from torch import Tensor

from upbench.ops import thresholds
from upbench.ops.cpu import native, window_kernels
from upbench.ops.cpu.rows import SLICES
from upbench.ops.memory_layout import on_huge_pages


def value_slices(x: Tensor, blocks: int) -> Tensor:
    """Return slices of channels of a large map that is read in its own dtype: [B, C / n, H, W, n]; of others the map itself.

    Args:
        x: [B, C, H, W], the map.
        blocks: parts of the channels that are read at different points.
    """
    (b, c, h, w), own = x.shape, native.value_dtype(x, blocks) == x.dtype
    width = next((n for n in SLICES if c // blocks % n == 0), 0)
    large = x.nbytes >= thresholds.scaled(native.STREAMED)
    if not (own and width and large and window_kernels.can_turn(x)):
        return x
    out = on_huge_pages(x.new_empty((b, c // width, h, w, width)))
    for image in range(b):
        for n in range(c // width):
            window_kernels.planes_to_rows(x[image : image + 1, n * width : (n + 1) * width], out[image, n : n + 1])
    return out
