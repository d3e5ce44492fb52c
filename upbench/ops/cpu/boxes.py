"""Attention to boxes of low-resolution cells by the C kernel (`csrc/cells.h`): nothing of the output's size but the output."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from upbench.ops.cell_windows import cell_ranges
from upbench.ops.cpu import native, structs
from upbench.ops.cpu.rows import even_pixels
from upbench.ops.memory_layout import empty_map

LONGEST = (16, 32)
"""Most rows and columns of output pixels of a tile: enough that its cells are fetched for many."""
LOGITS = 2**16
"""Logits of all heads that a thread holds at once, where eight pixels have fewer."""
PIECE = 4
"""Tiles that a thread takes at a time."""

_SIZES = ("across", "width", "out_width", "channels", "depth", "heads", "groups", "most_cells", "most_pixels")
_STEPS = ("x_pitch", "key_step", "query_pitch", "query_step", "out_pitch")
Boxes = structs.struct(
    "Boxes",
    **dict.fromkeys(("x", "keys", "query", "out", "rows", "columns"), structs.ADDRESS),
    **dict.fromkeys((*_SIZES, *_STEPS), structs.COUNT),
    factor=structs.REAL,
    wide=structs.COUNT,
)


@lru_cache(256)
def runs(outputs: int, cells: int, window: float, kernel: int, longest: int) -> Tensor:
    """Find the runs of output pixels of one side that see the same cells, those that are too long cut.

    Args:
        outputs: see `cell_ranges`.
        cells: see `cell_ranges`.
        window: see `cell_ranges`.
        kernel: see `cell_ranges`.
        longest: most pixels of a run.

    Returns:
        Of each run the first pixel, the one after the last, and the same of its cells: int64 [runs, 4].
    """
    first, last = cell_ranges(outputs, cells, window, kernel)
    changes = (torch.diff(first) != 0) | (torch.diff(last) != 0)
    starts = [0, *(changes.nonzero().flatten() + 1).tolist()]
    cut = [n for a, b in zip(starts, [*starts[1:], outputs], strict=True) for n in range(a, b, longest)]
    edges = torch.tensor([*cut, outputs])
    return torch.stack((edges[:-1], edges[1:], first[edges[:-1]], last[edges[:-1]]), 1).contiguous()


def attend(query: Tensor, keys: Tensor, x: Tensor, heads: int, groups: int, window: float, kernel: int) -> Tensor:
    """Compute `cell_attention_fused` of float32 or float64.

    Args:
        query: [B, D, H', W'], the high-resolution map of queries.
        keys: [B, D, H, W], the low-resolution map of keys.
        x: [B, C, H, W], the low-resolution map of values.
        heads: attention heads; divides D.
        groups: groups of channels of x, each with the mean of the weights of its heads; divides heads and C.
        window: half the side of the window as a part of the map; 0 for all cells or with a kernel.
        kernel: side of the box of cells around the parent; 0 without one.

    Returns:
        [B, C, H', W'], channels-last.
    """
    (b, channels, h, w), (depth, out_h, out_w) = x.shape, query.shape[1:]
    out = empty_map(x, b, channels, out_h, out_w)
    # Cells one after another for each channel of the keys, channels for each cell of x, output pixels evenly apart.
    keys, x = keys.contiguous(), x.contiguous(memory_format=torch.channels_last)
    query = even_pixels(query)
    rows, columns = (
        runs(*sides, window, kernel, longest) for *sides, longest in ((out_h, h, LONGEST[0]), (out_w, w, LONGEST[1]))
    )
    cells = int((rows[:, 3] - rows[:, 2]).max() * (columns[:, 3] - columns[:, 2]).max())
    pixels = min(max(LOGITS // (heads * cells) // 4 * 4, 8), 64)
    sizes = (len(columns), w, out_w, channels, depth, heads, groups, cells, pixels)
    # The channel's step of a map of one pixel, or of one channel, may be any.
    steps = (channels, h * w, query.stride(3), query.stride(1), channels)
    job = Boxes(
        **dict(zip((*_SIZES, *_STEPS), (*sizes, *steps), strict=True)),
        rows=rows.data_ptr(),
        columns=columns.data_ptr(),
        factor=(depth // heads) ** -0.5,
        wide=x.dtype == torch.float64,
    )
    for image in range(b):
        job.x, job.keys, job.query, job.out = (native.address(t, image) for t in (x, keys, query, out))
        native.run_tiles("boxes", job, len(rows) * len(columns), out_h * out_w * cells * (channels + depth), PIECE)
    return out
