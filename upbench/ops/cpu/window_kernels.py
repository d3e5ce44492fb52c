"""The C kernels for windows (`csrc/windows.c`): sums over windows, dot products with them and the transpose of the first.

Built when upbench is installed where a C compiler is; without them `windows` makes the same of torch's ops. They read and
write float32, float64, bfloat16 and float16, and compute half precision in float32.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from upbench.ops import thresholds
from upbench.ops.cpu import compiled, native, structs, threads
from upbench.ops.memory_layout import empty_map, empty_taps, on_huge_pages

INTERFACE = 12
"""Version of the C interface that this file expects; kernels built by another upbench are ignored."""
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
ZEROS, MIRRORED, REPEATED = 0, 1, 2
"""What windows read outside the map."""
TILE = (32, 16)
"""Rows and columns of a tile of the transpose."""
STRIP = 16
"""Cells of a strip of guide that is fetched at once."""
PIXELS = 32
"""Pixels of planes that are read at a time, at least."""
MOST_PIXELS, NEAR = 128, 2**15
"""At most, where vectors are of 8 numbers, and how many values they may have in all planes."""
PIECE = 1
"""Rows of cells, or tiles, that a thread takes at a time."""
TURNED = 2**18
"""Bytes of an image from which a kernel makes rows of its planes faster than torch does."""

_SIDES = ("height", "width", "cells_across", "out_width")
_SIZES = (*_SIDES, "channels", "depth", "groups", "kernel", "origin", "border", "most")
_PITCHES = ("x_row", "x_pitch", "key_row", "key_pitch", "query_pitch", "guide_step", "guide_pitch", "weight_pitch")
Windows = structs.struct(
    "Windows",
    **dict.fromkeys(("x", "keys", "query", "weights", "guide", "gate", "out", "rows", "columns"), structs.ADDRESS),
    **dict.fromkeys((*_SIZES, *_PITCHES, "group_step", "tap_step", "out_pitch"), structs.COUNT),
    **dict.fromkeys(("shuffled", "softmax", "streams", "dtype"), structs.COUNT),
)
Project = structs.struct(
    "Project",
    **dict.fromkeys(("x", "weights", "out"), structs.ADDRESS),
    **dict.fromkeys(
        ("pixels", "channels", "outputs", "x_step", "x_pitch", "out_pitch", "tile", "streams", "dtype"),
        structs.COUNT,
    ),
)


_kernels = compiled.load("_windows", INTERFACE)


def can_run_native(*tensors: Tensor) -> bool:
    """Return whether the kernels take these: one dtype of `DTYPES`.

    Args:
        tensors: what they would be given.
    """
    return _kernels is not None and tensors[0].dtype in DTYPES and len({t.dtype for t in tensors}) == 1


@lru_cache(256)
def starts(size: int, out: int) -> Tensor:
    """Return the first output index of each low-resolution index of one side, and the number of all: int64 [size + 1].

    Args:
        size: low-resolution pixels of the side.
        out: output pixels of the side; the parent of pixel i' is floor(i' * size / out).
    """
    return torch.div(torch.arange(size + 1) * out + size - 1, size, rounding_mode="floor")


def map_rows(x: Tensor) -> Tensor:
    """Bring the channels of a map together: [B, H, W, C].

    Args:
        x: [B, C, H, W], the map.
    """
    rows = x.permute(0, 2, 3, 1)
    if rows.stride(3) == 1 or rows.shape[3] == 1:
        return rows
    return planes_to_rows(x) if can_turn(x) else rows.contiguous()


def can_turn(x: Tensor) -> bool:
    """Return whether a kernel brings the channels of a map together faster than torch: those of large planes, in blocks.

    Args:
        x: [B, C, H, W], the map.
    """
    large = x[0].nbytes >= thresholds.scaled(TURNED)
    return large and can_run_native(x) and x.dtype != torch.float64 and x.is_contiguous() and x.shape[1] % 16 == 0


def pixels_at_once(channels: int) -> int:
    """Return how many pixels of planes are read at a time: with AVX2 long parts of each arrive in 0.8 to 0.9 of the time.

    Args:
        channels: how many planes.
    """
    return max(PIXELS, min(MOST_PIXELS, NEAR // max(channels, 1) // PIXELS * PIXELS)) if native.LANES == 8 else PIXELS


def planes_to_rows(x: Tensor, out: Tensor | None = None) -> Tensor:
    """Copy a map that `can_turn` into rows of channels: [B, H, W, C].

    Args:
        x: [B, C, H, W], the map, or some channels of it.
        out: [B, H, W, C], contiguous memory for the result that is read at once and stays in the caches; None for new memory.
    """
    b, c, h, w = x.shape
    lines = c * x.element_size() % 16 == 0
    streams = out is None and lines and x.nbytes >= thresholds.scaled(native.STREAMED)
    out = on_huge_pages(x.new_empty((b, h, w, c))) if out is None else out
    job = Project(
        pixels=h * w, channels=c, x_step=x.stride(1), out_pitch=c, streams=streams, dtype=DTYPES.index(x.dtype)
    )
    job.tile = pixels_at_once(c)
    run("rows", job, {"x": x, "out": out}, b, math.ceil(h * w / job.tile), c * h * w, 8 * PIXELS // job.tile)
    return out


def even_rows(x: Tensor) -> Tensor:
    """The same with the pixels of an image evenly apart."""
    rows = map_rows(x)
    return rows if _is_even(rows) else rows.contiguous()


def _is_even(rows: Tensor) -> bool:
    # The stride of a side of one pixel may be any.
    return min(rows.shape[1:3]) == 1 or rows.stride(1) == rows.shape[2] * rows.stride(2)


def pitch(rows: Tensor) -> int:
    """What leads from a pixel to the next, where they are evenly apart."""
    return rows.stride(2) if rows.shape[2] > 1 else rows.stride(1)


def _taps(weight: Tensor) -> Tensor:
    """[B, H', W', G, T] of weights, with the pixels evenly apart and the taps together."""
    taps = weight.permute(0, 3, 4, 1, 2)
    together = (taps.stride(4) == 1 or taps.shape[4] == 1) and _is_even(taps)
    return taps if together else taps.contiguous()


def _job(x_size: tuple[int, int], out_size: tuple[int, int], kernel: int, mirrored: bool, dtype: torch.dtype) -> Any:
    (h, w), (out_h, out_w) = x_size, out_size
    rows, columns = starts(h, out_h), starts(w, out_w)
    job = Windows(
        height=h,
        width=w,
        cells_across=w,
        out_width=out_w,
        kernel=kernel,
        origin=-(kernel // 2),
        border=MIRRORED if mirrored else ZEROS,
        rows=rows.data_ptr(),
        columns=columns.data_ptr(),
        dtype=DTYPES.index(dtype),
    )
    job.lives_with = rows, columns  # another thread may drive them out of the cache meanwhile
    return job


def run(
    entry: str,
    job: ctypes.Structure,
    maps: dict[str, Tensor | None],
    images: int,
    count: int,
    terms: int,
    piece: int = PIECE,
) -> None:
    """Run an entry of the kernels over all its tiles for each image, by as many threads as torch has here.

    Args:
        entry: its name.
        job: the struct that it takes.
        maps: fields of the struct that are addresses, and the tensors they stand for, images first.
        images: their number.
        count: number of tiles of an image.
        terms: of an image, as `threads.run` has them.
        piece: tiles that a thread takes at a time.
    """
    for image in range(images):
        for name, tensor in maps.items():
            setattr(job, name, native.address(tensor, image))
        threads.run(_kernels, entry, job, count, piece, terms)


def assemble(x: Tensor, weight: Tensor, kernel: int, mirrored: bool) -> Tensor:
    """Compute `windows.window_assemble`, with its arguments."""
    taps = _taps(weight)
    steps = {"weight_pitch": pitch(taps), "group_step": taps.stride(3), "tap_step": 1}
    return _sums(x, {"weights": taps}, kernel, weight.shape[1], weight.shape[3:], mirrored, steps)


def reassemble(x: Tensor, logits: Tensor, guide: Tensor | None, gate: Tensor | None, kernel: int, scale: int) -> Tensor:
    """Compute `reassembly.reassemble_fused`, with its arguments."""
    size = (x.shape[2] * scale, x.shape[3] * scale)
    if logits.dim() == 4:
        rows = even_rows(logits)
        groups = rows.shape[3] // (kernel * scale) ** 2
        steps = {"weight_pitch": pitch(rows), "tap_step": scale**2, "group_step": (kernel * scale) ** 2, "shuffled": 1}
    else:
        rows, groups = _taps(logits), logits.shape[1]
        steps = {"weight_pitch": pitch(rows), "tap_step": 1, "group_step": rows.stride(3)}
    maps: dict[str, Tensor | None] = {"weights": rows}
    if guide is not None and gate is not None:
        planes = guide.is_contiguous() and guide.shape[1] > 1
        mixed = guide if planes else even_rows(guide)
        maps |= {"guide": mixed, "gate": gate.contiguous()}
        steps |= {"guide_step": guide.stride(1), "most": scale * scale * STRIP} if planes else {"guide_step": 1}
        steps |= {} if planes else {"guide_pitch": pitch(mixed)}
    return _sums(x, maps, kernel, groups, size, False, {**steps, "softmax": 1})


def attend(query: Tensor, keys: Tensor, x: Tensor, kernel: int) -> Tensor:
    """Compute `reassembly.attend_window_fused`, with its arguments."""
    rows = map_rows(x)
    key_rows = rows if keys is x else map_rows(keys)
    steps = {"depth": keys.shape[1], "key_row": key_rows.stride(1), "key_pitch": key_rows.stride(2)}
    high, wide = (math.ceil(query.shape[n] / keys.shape[n]) for n in (2, 3))
    if query.is_contiguous() and query.shape[1] > 1 and query[0, 0].numel() > 1:
        queries, pitches = query, {"guide_step": query.stride(1), "most": high * wide * STRIP}
    else:
        queries = even_rows(query)
        pitches = {"guide_step": 1, "query_pitch": pitch(queries)}
    maps: dict[str, Tensor | None] = {"query": queries, "keys": key_rows}
    # Rows as a map, so that they are not made again.
    values = rows.permute(0, 3, 1, 2)
    return _sums(values, maps, kernel, 1, query.shape[2:], False, {**steps, **pitches}, "attend")


def _sums(
    x: Tensor,
    maps: dict[str, Tensor | None],
    kernel: int,
    groups: int,
    size: Sequence[int],
    mirrored: bool,
    steps: dict[str, int],
    entry: str = "assemble",
) -> Tensor:
    job = _job((x.shape[2], x.shape[3]), (size[0], size[1]), kernel, mirrored, x.dtype)
    job.groups = groups
    for name, value in steps.items():
        setattr(job, name, value)
    return run_sums(entry, job, x, maps, size, x.shape[2])


def run_sums(
    entry: str, job: Any, x: Tensor, maps: dict[str, Tensor | None], size: Sequence[int], cells: int
) -> Tensor:
    """Take the sums of a job.

    Args:
        entry: "assemble" or "attend".
        job: a `Windows` that lacks x and the result alone.
        x: [B, C, H, W], the map.
        maps: fields of the job that are addresses, and the tensors they stand for, images first.
        size: rows and columns of the result.
        cells: rows of cells.

    Returns:
        [B, C, H', W'], channels-last.
    """
    b, c = x.shape[:2]
    out = empty_map(x, b, c, *size)
    rows = map_rows(x)
    job.channels, job.x_row, job.x_pitch, job.out_pitch = c, rows.stride(1), rows.stride(2), c
    # A caller's memory may begin anywhere, and what is written past the caches begins at a multiple of 16 bytes.
    aligned = c // job.groups % 16 == 0 and out.data_ptr() % 16 == 0
    job.streams = aligned and out.nbytes >= thresholds.scaled(native.STREAMED)
    run(entry, job, {"x": rows, "out": out.permute(0, 2, 3, 1), **maps}, b, cells, out[:1].numel() * job.kernel**2)
    return out


def similarity(query: Tensor, keys: Tensor, kernel: int, heads: int, mirrored: bool) -> Tensor:
    """Compute `windows.window_similarity`, with its arguments."""
    (b, c, h, w), (out_h, out_w) = keys.shape, query.shape[2:]
    out = empty_taps(query, b, heads, kernel * kernel, out_h, out_w)
    rows, queries = map_rows(keys), even_rows(query)
    job = _job((h, w), (out_h, out_w), kernel, mirrored, keys.dtype)
    job.channels, job.groups = c, heads
    job.x_row, job.x_pitch, job.query_pitch = rows.stride(1), rows.stride(2), pitch(queries)
    job.out_pitch = heads * kernel * kernel
    run(
        "similarity",
        job,
        {"x": rows, "query": queries, "out": out.permute(0, 3, 4, 1, 2)},
        b,
        h,
        out[:1].numel() * c // heads,
    )
    return out


def scatter(source: Tensor, weight: Tensor, kernel: int, height: int, width: int, mirrored: bool) -> Tensor:
    """Compute `windows.window_scatter`, with its arguments."""
    (b, c, out_h, out_w), groups = source.shape, weight.shape[1]
    out = empty_map(source, b, c, height, width)
    sources, taps = even_rows(source), _taps(weight)
    job = _job((height, width), (out_h, out_w), kernel, mirrored, source.dtype)
    job.channels, job.groups, job.out_pitch = c, groups, c
    # Of one place, and of up to three that are mirrored into a pixel along each side.
    children = math.ceil(out_h / height) * math.ceil(out_w / width)
    job.most = kernel * kernel * children * (9 if mirrored else 1)
    job.query_pitch, job.weight_pitch = pitch(sources), pitch(taps)
    job.group_step, job.tap_step = taps.stride(3), 1
    tiles = math.ceil(height / TILE[0]) * math.ceil(width / TILE[1])
    run(
        "scatter",
        job,
        {"query": sources, "weights": taps, "out": out.permute(0, 2, 3, 1)},
        b,
        tiles,
        source[:1].numel() * kernel**2,
    )
    return out
