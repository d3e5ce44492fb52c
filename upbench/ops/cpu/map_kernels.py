"""The C kernels for steps on whole maps (`csrc/maps.c`): means over boxes, paired differences, the softmax over few taps,
weights of samples, affinities.

Built when upbench is installed where a C compiler is; without them the eager forms run. They compute float32 and float64.
"""

from __future__ import annotations

import ctypes
import math

import torch
from torch import Tensor

from upbench.ops.cpu import native, threads
from upbench.ops.memory_layout import on_huge_pages

INTERFACE = 5
"""Version of the C interface that this file expects; kernels built by another upbench are ignored."""
DTYPES = (torch.float32, torch.float64)
LANES = 16
"""Outputs that are summed at once."""
TILE = 8
"""Pixels along a side of a tile of paired differences."""
ROWS = 512
"""Rows of taps that are one tile of a softmax."""
PLANES, TILES, BLOCKS, ROWS_OF_SAMPLES = 1, 8, 8, 8
"""Planes, tiles, blocks of rows and rows of samples that a thread takes at a time."""

Box = native.struct(
    "Box",
    **dict.fromkeys(("x", "out"), native.ADDRESS),
    **dict.fromkeys(("height", "width", "radius", "transposed", "dtype"), native.COUNT),
)
Differences = native.struct(
    "Differences",
    **dict.fromkeys(("key", "query", "weights", "inner", "out", "sums"), native.ADDRESS),
    **dict.fromkeys(("height", "width", "channels", "outputs", "groups", "kernel", "dilation", "dtype"), native.COUNT),
)
_GIVEN = ("key", "query", "grad", "hidden", "weights", "first", "inner", "last")
_WRITTEN = ("dkey", "dquery", "dfirst", "dinner", "dbiases")
_SIZES = ("height", "width", "channels", "outputs", "groups", "kernel", "dilation", "scores", "dtype")
DifferenceSlopes = native.struct(
    "DifferenceSlopes",
    **dict.fromkeys((*_GIVEN, *_WRITTEN), native.ADDRESS),
    **dict.fromkeys(_SIZES, native.COUNT),
)
Softmax = native.struct(
    "Softmax",
    **dict.fromkeys(("x", "grad", "out"), native.ADDRESS),
    **dict.fromkeys(("rows", "taps", "dtype"), native.COUNT),
)
Fold = native.struct(
    "Fold",
    **dict.fromkeys(("weights", "right", "down", "out"), native.ADDRESS),
    **dict.fromkeys(("height", "width", "kernel", "dtype"), native.COUNT),
)
Affinity = native.struct(
    "Affinity",
    **dict.fromkeys(("guide", "filters", "scale", "shift", "out"), native.ADDRESS),
    **dict.fromkeys(("eps", "slope"), native.REAL),
    **dict.fromkeys(("height", "width", "channels", "kernel", "step", "dtype"), native.COUNT),
)
Pool = native.struct(
    "Pool",
    **dict.fromkeys(("x", "out"), native.ADDRESS),
    **dict.fromkeys(("height", "width", "size", "dtype"), native.COUNT),
)


_kernels = native.load("_maps", INTERFACE)


def can_run_native(*tensors: Tensor) -> bool:
    """Return whether the kernels take these: one dtype of `DTYPES`, on a CPU.

    Args:
        tensors: what they would be given.
    """
    first = tensors[0]
    same = all(t.dtype == first.dtype and t.device.type == "cpu" for t in tensors)
    return _kernels is not None and first.dtype in DTYPES and same


def run(entry: str, job: ctypes.Structure, count: int, piece: int) -> None:
    """Run an entry of the kernels over all its tiles, by as many threads as torch has here.

    Args:
        entry: its name.
        job: the struct that it takes.
        count: number of tiles.
        piece: tiles that a thread takes at a time.
    """
    threads.run(_kernels, entry, job, count, piece)


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
        run("box", job, b * c, PLANES)
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
        run("softmax", job, math.ceil(count / ROWS), BLOCKS)
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
        run("fold", job, h, ROWS_OF_SAMPLES)
    return out


def affinity(
    guide: Tensor, filters: Tensor, scale: Tensor, shift: Tensor, groups: int, eps: float, slope: float
) -> Tensor:
    """Sum the products of two filtered, normed and rectified features over the channels of each group.

    Args:
        guide: [C, 2H, 2W], contiguous planes.
        filters: [2, k, k], contiguous, at stride 2.
        scale, shift: [C, 2], contiguous, of the norms after both filters.
        groups: groups of the norms.
        eps: of the norms.
        slope: of the rectifiers below zero.

    Returns:
        [groups, H, W].
    """
    c, h, w = guide.shape[0], guide.shape[1] // 2, guide.shape[2] // 2
    out = guide.new_empty((groups, h, w))
    job = Affinity(
        height=h, width=w, channels=c // groups, kernel=filters.shape[-1], step=4 * h * w, eps=eps, slope=slope
    )
    job.dtype = DTYPES.index(guide.dtype)
    job.guide, job.filters, job.scale, job.shift, job.out = (t.data_ptr() for t in (guide, filters, scale, shift, out))
    run("affinity", job, groups, 1)
    return out


def pool(x: Tensor, size: int) -> Tensor:
    """Pool planes to size x size and, last, to a point.

    Args:
        x: [B, C, H, W], contiguous.
        size: cells along a side; divides H and W.

    Returns:
        [B, C, size^2 + 1].
    """
    b, c, h, w = x.shape
    out = x.new_empty((b, c, size * size + 1))
    job = Pool(x=x.data_ptr(), out=out.data_ptr(), height=h, width=w, size=size, dtype=DTYPES.index(x.dtype))
    run("pool", job, b * c, TILES)
    return out


def can_difference(channels: int, outputs: int, groups: int) -> bool:
    """Return whether the kernel takes paired differences of these sizes: whole lanes of outputs in every group.

    Args:
        channels: channels of the key.
        outputs: outputs of all groups.
        groups: groups of both.
    """
    return channels % groups == 0 and outputs % (groups * LANES) == 0


def _lanes(weight: Tensor, groups: int) -> Tensor:
    """[outputs, inputs] -> the order of the kernel: [groups, outputs / groups / LANES, inputs, LANES]."""
    return weight.view(groups, -1, LANES, weight.shape[1]).transpose(2, 3)


def differences(
    key: Tensor,
    query: Tensor,
    weight: Tensor,
    bias: Tensor,
    inner: Tensor,
    inner_bias: Tensor,
    kernel: int,
    dilation: int,
) -> tuple[Tensor, Tensor]:
    """Compute two layers of paired differences of one image, each rectified.

    Args:
        key, query: [C, H, W].
        weight: [O, C / groups * (kernel^2 + 1)], of the taps of each channel of the key, then of the query's channels.
        bias: [O].
        inner, inner_bias: [O, O / groups] and [O], of the second layer.
        kernel: taps along a side of the window, odd.
        dilation: steps between taps, in pixels.

    Returns:
        [H * W, O], and the sums over the pixels of these and of their squares, float64 [2, O].
    """
    key, query = key.contiguous(), query.contiguous()
    (c, h, w), outputs = key.shape, len(weight)
    groups = outputs // inner.shape[1]
    tiles = math.ceil(h / TILE) * math.ceil(w / TILE)
    out = on_huge_pages(key.new_empty((h * w, outputs)))
    sums = key.new_empty((tiles, 2, outputs))
    layers = [torch.cat((_lanes(by, groups).flatten(), b)) for by, b in ((weight, bias), (inner, inner_bias))]
    job = Differences(
        height=h,
        width=w,
        channels=c,
        outputs=outputs,
        groups=groups,
        kernel=kernel,
        dilation=dilation,
        dtype=DTYPES.index(key.dtype),
    )
    job.key, job.query, job.out, job.sums = (t.data_ptr() for t in (key, query, out, sums))
    job.weights, job.inner = (t.data_ptr() for t in layers)
    run("differences", job, tiles, TILES)
    return out, sums.sum(0, dtype=torch.float64)


def difference_slopes(
    grad: Tensor,
    key: Tensor,
    query: Tensor,
    hidden: Tensor,
    first: tuple[Tensor, Tensor],
    inner: Tensor,
    last: Tensor,
    norm: tuple[Tensor, Tensor],
    kernel: int,
    dilation: int,
) -> tuple[Tensor, ...]:
    """Compute the gradients of `differences` and of a last layer with a norm before it, of one image.

    Args:
        grad: [T, H * W], of the last layer's result.
        key, query: [C, H, W], contiguous.
        hidden: [H * W, O], what `differences` returned.
        first: its weight and bias.
        inner: the weight of its second layer.
        last: [T, O], the weight of the last layer with the norm's factors in it.
        norm: [O] each, what the norm adds to the gradient of its input, and what it adds for each value of it.
        kernel: taps along a side of the window, odd.
        dilation: steps between taps, in pixels.

    Returns:
        Those of key, query, the first weight and bias, the second weight and bias.
    """
    (c, h, w), (outputs, inputs), made = key.shape, first[0].shape, inner.shape[1]
    groups, strips, reach = outputs // made, math.ceil(h / TILE), kernel // 2 * dilation
    weights = torch.cat((_lanes(first[0], groups).flatten(), first[1]))
    layers = (weights, first[0].contiguous(), inner.contiguous(), torch.cat((last.flatten(), *norm)))
    given = (key, query, grad.contiguous(), hidden, *layers)
    dkey, dquery = key.new_empty((strips, c, TILE + 2 * reach, w)), torch.empty_like(query)
    sums = [key.new_empty((strips, groups, n, made)) for n in (inputs, made)]
    written = (dkey, dquery, *sums, key.new_empty((strips, 2, outputs)))
    sizes = (h, w, c, outputs, groups, kernel, dilation, len(last), DTYPES.index(key.dtype))
    job = DifferenceSlopes(**dict(zip(_SIZES, sizes, strict=True)))
    for name, tensor in zip((*_GIVEN, *_WRITTEN), (*given, *written), strict=True):
        setattr(job, name, tensor.data_ptr())
    run("difference_slopes", job, strips, 1)
    padded = key.new_zeros((c, h + 2 * reach, w))
    for n in range(strips):
        rows = padded[:, n * TILE : n * TILE + TILE + 2 * reach]
        rows += dkey[n, :, : rows.shape[1]]
    whole = torch.ops.aten.replication_pad2d_backward(padded, key, [0, 0, reach, reach]) if reach else padded
    dfirst, dinner, dbiases = (t.sum(0, dtype=torch.float64).to(key.dtype) for t in written[2:])
    dbias, dinner_bias = dbiases
    return (whole, dquery, dfirst.mT.flatten(0, 1), dbias, dinner.mT.flatten(0, 1), dinner_bias)
