"""The C kernels for steps on whole maps (`csrc/maps.c`): means over boxes, the softmax over few taps, weights of
samples, affinities; those of paired differences are called by `difference_kernels`.

Built when upbench is installed where a C compiler is; without them the eager forms run. They compute float32 and float64.
"""

from __future__ import annotations

import ctypes
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from upbench.ops.cpu import compiled, native, structs, threads
from upbench.ops.registration import coordinate_dtype

INTERFACE = 14
"""Version of the C interface that this file expects; kernels built by another upbench are ignored."""
DTYPES = (torch.float32, torch.float64)
PARCEL = 512
"""Pixels of a tile of a pointwise convolution."""
ROWS = 512
"""Rows of taps that are one tile of a softmax."""
PLANES, BLOCKS, ROWS_OF_SAMPLES = 1, 8, 8
"""Planes, blocks of rows and rows of samples that a thread takes at a time."""

Box = structs.struct(
    "Box",
    **dict.fromkeys(("x", "out"), structs.ADDRESS),
    **dict.fromkeys(("height", "width", "radius", "transposed", "dtype"), structs.COUNT),
)
Softmax = structs.struct(
    "Softmax",
    **dict.fromkeys(("x", "grad", "out"), structs.ADDRESS),
    **dict.fromkeys(("rows", "taps", "dtype"), structs.COUNT),
)
Fold = structs.struct(
    "Fold",
    **dict.fromkeys(("weights", "right", "down", "out"), structs.ADDRESS),
    **dict.fromkeys(("height", "width", "kernel", "dtype"), structs.COUNT),
)
Affinity = structs.struct(
    "Affinity",
    **dict.fromkeys(("guide", "filters", "scale", "shift", "out"), structs.ADDRESS),
    **dict.fromkeys(("eps", "slope"), structs.REAL),
    **dict.fromkeys(("height", "width", "channels", "kernel", "step", "pairs", "form", "dtype"), structs.COUNT),
)
Pool = structs.struct(
    "Pool",
    **dict.fromkeys(("x", "out"), structs.ADDRESS),
    **dict.fromkeys(("height", "width", "size", "paired", "form", "dtype"), structs.COUNT),
)


_kernels = compiled.load("_maps", INTERFACE)


def can_run_native(*tensors: Tensor) -> bool:
    """Return whether the kernels take these: one dtype of `DTYPES`, on a CPU.

    Args:
        tensors: what they would be given.
    """
    first = tensors[0]
    same = all(t.dtype == first.dtype and t.device.type == "cpu" for t in tensors)
    return _kernels is not None and first.dtype in DTYPES and same


def by_pairs(x: Tensor) -> bool:
    """Return whether the kernels read a map of bfloat16 as it is: on a CPU that adds two of its products at once.

    Args:
        x: the map.
    """
    return x.dtype == torch.bfloat16 and x.device.type == "cpu" and pairs_at_hand()


def can_widen(x: Tensor) -> bool:
    """Return whether affinities and pools read a map of half precision as float32 on the way.

    Args:
        x: the map.
    """
    return x.dtype in native.FORMS and x.device.type == "cpu" and bool(getattr(_kernels, "widens", False))


def pairs_at_hand() -> bool:
    """Return whether this CPU adds two products of bfloat16 at once."""
    return bool(getattr(_kernels, "bfloat", False))


def run(entry: str, job: ctypes.Structure, count: int, piece: int, terms: int) -> None:
    """Run an entry of the kernels over all its tiles, by as many threads as torch has here.

    Args:
        entry: its name.
        job: the struct that it takes.
        count: number of tiles.
        piece: tiles that a thread takes at a time.
        terms: as `threads.run` has them.
    """
    threads.run(_kernels, entry, job, count, piece, terms)


def box(x: Tensor, radius: int, transposed: bool) -> Tensor:
    """Compute the means of `ops.box_mean`, or their transpose.

    Args:
        x: [B, C, H, W], the map, or the gradient of its means.
        radius: pixels from the centre of the window to its side.
        transposed: whether it is the gradient.
    """
    x = x.contiguous()
    out = torch.empty_like(x)
    (b, c, h, w) = x.shape
    job = Box(
        x=x.data_ptr(),
        out=out.data_ptr(),
        height=h,
        width=w,
        radius=radius,
        transposed=transposed,
        dtype=DTYPES.index(x.dtype),
    )
    if x.numel():
        run("box", job, b * c, PLANES, 4 * x.numel())
    return out


def softmax(rows: Tensor, grad: Tensor | None = None) -> Tensor:
    """Take the softmax over the last dimension, or of one its gradient in the logits.

    Args:
        rows: contiguous; the logits, or what their softmax was.
        grad: contiguous, the gradient of the softmax, or None.
    """
    out = torch.empty_like(rows)
    taps = rows.shape[-1]
    count = rows.numel() // max(taps, 1)
    job = Softmax(
        x=rows.data_ptr(),
        grad=None if grad is None else grad.data_ptr(),
        out=out.data_ptr(),
        rows=count,
        taps=taps,
        dtype=DTYPES.index(rows.dtype),
    )
    if count:
        run("softmax", job, math.ceil(count / ROWS), BLOCKS, 8 * rows.numel())
    return out


def fold(weight: Tensor, right: Tensor, down: Tensor, kernel: int) -> Tensor:
    """Turn weights of bilinear samples, one pixel apart, into weights of the pixels they lie between.

    Args:
        weight: [B, kernel^2, H, W], contiguous.
        right: [W], how far the samples of a column lie from the pixels to their left.
        down: [H], how far those of a row lie from the pixels above them.
        kernel: samples along a side of the window.

    Returns:
        [B, H, W, (kernel + 1)^2].
    """
    b, _, h, w = weight.shape
    out = weight.new_empty((b, h, w, (kernel + 1) ** 2))
    job = Fold(height=h, width=w, kernel=kernel, dtype=DTYPES.index(weight.dtype))
    job.right, job.down = right.data_ptr(), down.data_ptr()
    for image in range(b):
        job.weights, job.out = native.address(weight, image), native.address(out, image)
        run("fold", job, h, ROWS_OF_SAMPLES, 4 * out[image].numel())
    return out


def affinity(
    guide: Tensor, filters: Tensor, scale: Tensor, shift: Tensor, groups: int, eps: float, slope: float
) -> Tensor:
    """Sum the products of two filtered, normed and rectified features over the channels of each group.

    Args:
        guide: [C, 2H, 2W], contiguous planes; of half precision where `by_pairs` or `can_widen`.
        filters: [2, k, k], contiguous, at stride 2.
        scale, shift: [C, 2], contiguous, of the norms after both filters.
        groups: groups of the norms.
        eps: of the norms.
        slope: of the rectifiers below zero.

    Returns:
        [groups, H, W].
    """
    c, h, w = guide.shape[0], guide.shape[1] // 2, guide.shape[2] // 2
    out = scale.new_empty((groups, h, w))
    job = Affinity(
        height=h, width=w, channels=c // groups, kernel=filters.shape[-1], step=4 * h * w, eps=eps, slope=slope
    )
    job.dtype = DTYPES.index(scale.dtype)
    job.form = native.FORMS.get(guide.dtype, 0)
    if by_pairs(guide):
        # A row of a filter begins with a pair of columns of the guide.
        before = (job.kernel - 1) // 2 % 2
        filters = F.pad(filters, (before, (before + job.kernel) % 2)).to(guide.dtype)
        job.pairs = filters.shape[-1] // 2
    job.guide, job.filters, job.scale, job.shift, job.out = (t.data_ptr() for t in (guide, filters, scale, shift, out))
    run("affinity", job, groups, 1, c * h * w * filters.numel())
    return out


def pool(x: Tensor, size: int) -> Tensor:
    """Pool planes to size x size and, last, to a point.

    Args:
        x: [B, C, H, W], contiguous; of half precision where `can_widen`.
        size: cells along a side; divides H and W.

    Returns:
        [B, C, size^2 + 1], at least float32.
    """
    b, c, h, w = x.shape
    out = x.new_empty((b, c, size * size + 1), dtype=coordinate_dtype(x.dtype))
    job = Pool(x=x.data_ptr(), out=out.data_ptr(), height=h, width=w, size=size, dtype=DTYPES.index(out.dtype))
    job.form, job.paired = native.FORMS.get(x.dtype, 0), by_pairs(x) and w // size % 2 == 0
    run("pool", job, b * c, BLOCKS, x.numel())
    return out
