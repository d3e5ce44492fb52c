"""Which low-resolution cells each output pixel attends to, one side of the map at a time, and how they are cut into blocks.

A window is a box: the cells from a first to a last row and column. Neighbouring output pixels see nearly the same ones,
so that a block of pixels is compared with the union of its windows by one product of matrices, and what a pixel does not
see is masked.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from upbench.ops.attention import window_cells

LONGEST = 64
"""Most output pixels of one side of a block."""
SETUP = 2.0
"""What a block costs beside its products, in pixels: larger blocks see more cells that they do not need."""


@lru_cache(256)
def cell_ranges(outputs: int, cells: int, window: float, kernel: int) -> tuple[Tensor, Tensor]:
    """Find the cells of one side that each output pixel attends to.

    Args:
        outputs: output pixels of the side.
        cells: cells of the side.
        window: half the window as a part of the side, see `attention.window_cells`; 0 for all cells.
        kernel: cells around the pixel's parent, shifted inside at the border; 0 where `window` says.

    Returns:
        First cell, and the one after the last, of every pixel: int64 [outputs] each, on the CPU; they never decrease.
    """
    if kernel:
        parent = torch.arange(outputs) * cells // outputs
        first = (parent - kernel // 2).clamp(0, cells - kernel)
        return first, first + kernel
    if window > 0:
        return window_cells(outputs, cells, window, torch.empty(0))
    return torch.zeros(outputs, dtype=torch.int64), torch.full((outputs,), cells)


class Blocks(NamedTuple):
    """Blocks of the output pixels of one side, all of one size but the last.

    Args:
        size: output pixels of a block.
        first: the first cell of the union of each block's windows, moved so that all unions are inside: [n].
        width: cells of each union.
        seen: whether a pixel of a block sees a cell of its union: bool [n, size, width], None where all see all. Pixels
            past the end of the side see what the last one does.
    """

    size: int
    first: Tensor
    width: int
    seen: Tensor | None


@lru_cache(256)
def blocks(outputs: int, cells: int, window: float, kernel: int, longest: int = LONGEST) -> Blocks:
    """Cut one side into blocks of the size that needs the fewest products.

    Args:
        outputs: as in `cell_ranges`.
        cells: as in `cell_ranges`.
        window: as in `cell_ranges`.
        kernel: as in `cell_ranges`.
        longest: most output pixels of a block.
    """
    first, last = cell_ranges(outputs, cells, window, kernel)
    sizes = range(1, min(longest, outputs) + 1)
    size = min(sizes, key=lambda n: _cost(first, last, n))
    starts, width = first[::size], _width(first, last, size)
    starts = starts.clamp(max=cells - width)
    pixel = (torch.arange(len(starts))[:, None] * size + torch.arange(size)).clamp(max=outputs - 1)
    cell = starts[:, None, None] + torch.arange(width)
    seen = (cell >= first[pixel][..., None]) & (cell < last[pixel][..., None])
    return Blocks(size, starts, width, None if bool(seen.all()) else seen)


def _width(first: Tensor, last: Tensor, size: int) -> int:
    """Cells of the largest union of the windows of `size` neighbouring pixels."""
    ends = torch.cat((last[size - 1 :: size], last[-1:]))[: len(first[::size])]
    return int((ends - first[::size]).max())


def _cost(first: Tensor, last: Tensor, size: int) -> float:
    count = -(-len(first) // size)
    return count * (size + SETUP) * _width(first, last, size)
