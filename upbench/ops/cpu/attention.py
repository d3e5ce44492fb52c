"""Attention over deformed points on the CPU, without gradients: similarity, softmax and assembly over one set of cells.

Where a point falls, and how much each corner counts there, is worked out once for keys and values; apart from the
result nothing is kept but two numbers for each corner of each point. With gradients the two halves run one by one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from upbench.ops import thresholds
from upbench.ops.cpu import native
from upbench.ops.cpu.points import _Cells, _map_rows
from upbench.ops.cpu.rows import pixel_rows, point_rows, row_dots, row_sums
from upbench.ops.memory_layout import empty_map
from upbench.ops.registration import coordinate_dtype, numel

ENTRIES = 2**23
"""Rows read for one piece of the output: the papers' shape is one piece, larger ones take no more memory."""


def charge(shapes: Sequence[Sequence[int]], args: Sequence[Any]) -> dict[str, int]:
    """Count the MACs of each plain op that `attend` stands for.

    Args:
        shapes: of x, keys, query, embedding where there is one, points and output.
        args: padding, heads, factor.
    """
    query, points, out = numel(shapes[2]), shapes[-2], numel(shapes[-1])
    taps, heads = points[2], args[-2]
    logits = points[0] * heads * taps * points[3] * points[4]
    return {
        "upbench::sample_points": 4 * taps * (query + out),
        "upbench::point_similarity": taps * query,
        "upbench::point_assemble": taps * out,
        "aten::add": taps * query if len(shapes) == 6 else 0,
        "aten::mul": logits if args[-1] is not None else 0,
        "aten::softmax": 3 * logits,
    }


def attend(
    x: Float[Tensor, "B C H W"],
    keys: Float[Tensor, "B d H W"],
    query: Float[Tensor, "B d oH oW"],
    embedding: Float[Tensor, "{heads} P e"] | None,
    points: Float[Tensor, "B G P oH oW 2"],
    padding: str,
    heads: int,
    factor: float | None,
) -> Float[Tensor, "B C oH oW"]:
    """Compute `ops.deform_assemble` of x by the softmax over the points of `ops.deform_similarity`.

    Args:
        x: the low-resolution map of values.
        keys: the low-resolution map of keys.
        query: the high-resolution map of queries.
        embedding: added to the keys of each point, of d / heads channels, or None.
        points: positions (x, y) in low-resolution pixels.
        padding: what is read outside the map, as in `ops.sample_points`.
        heads: attention heads.
        factor: of the logits, None for 1.

    Returns:
        The weighted sums, channels-last.
    """
    if native.can_run_native(x, keys, query, half=True):
        return native.attend(x, keys, query, embedding, points, padding, heads, factor)
    b, c, h, w = x.shape
    groups, taps, out_h, out_w = points.shape[1:5]
    blocks, count = math.lcm(groups, heads), out_h * out_w
    where, queries = point_rows(points), pixel_rows(query, coordinate_dtype(query.dtype))
    out = None
    for image in range(b):
        key_rows, rows = _map_rows(keys, image, blocks), _map_rows(x, image, blocks)
        step = max(thresholds.scaled(ENTRIES) // (blocks * 4 * taps), 64)
        for start in range(0, count, step):
            chunk = slice(start, min(start + step, count))
            cells = _Cells(where[:, image, chunk], h, w, padding)
            corners, index = cells.weights(None, blocks).to(rows.dtype), cells.rows(blocks).view(-1, 4 * taps)
            del cells
            mine = queries[image, chunk]
            dots = row_dots(mine.reshape(-1, mine.shape[-1] // blocks), key_rows, index).view_as(corners).mul_(corners)
            # Corners and blocks of one head are neighbours in memory: one sum over both.
            logits = dots.view(-1, heads, blocks // heads * 4, taps).sum(2)
            del dots
            if embedding is not None:
                parts = mine.view(-1, heads, mine.shape[-1] // heads).transpose(0, 1)
                logits += (parts @ embedding.to(parts.dtype).transpose(1, 2)).transpose(0, 1)
            corners.view(-1, heads, blocks // heads * 4, taps).mul_(_softmax(logits, factor).unsqueeze(2))
            read = row_sums(rows, index, corners.view(-1, 4 * taps)).view(-1, c)
            if b == 1 and read.shape[0] == count and read.dtype == x.dtype:
                return read.view(1, out_h, out_w, c).permute(0, 3, 1, 2)
            out = empty_map(x, b, c, out_h, out_w) if out is None else out
            out.permute(0, 2, 3, 1).view(b, count, c)[image, chunk] = read
    return empty_map(x, b, c, out_h, out_w) if out is None else out


def _softmax(logits: Tensor, factor: float | None) -> Tensor:
    """Softmax over the last dimension of logits times factor, in place. torch's own is slow over few values."""
    if factor is not None:
        logits *= factor
    logits -= logits.amax(-1, keepdim=True)
    logits.exp_()
    return logits.div_(logits.sum(-1, keepdim=True))
