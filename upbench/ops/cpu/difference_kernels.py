"""Paired differences and their gradients by the C kernels for steps on whole maps (`csrc/layers.h`, `csrc/layer_slopes.h`)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from upbench.ops.cpu import native
from upbench.ops.cpu.map_kernels import DTYPES, run
from upbench.ops.memory_layout import on_huge_pages

TILE = 8
"""Pixels along a side of a tile."""
TILES = 8
"""Tiles that a thread takes at a time."""

Differences = native.struct(
    "Differences",
    **dict.fromkeys(("key", "query", "coarse", "weights", "inner", "out", "sums"), native.ADDRESS),
    **dict.fromkeys(
        ("height", "width", "channels", "outputs", "groups", "kernel", "dilation", "ratio", "dtype"), native.COUNT
    ),
)
_GIVEN = ("key", "query", "grad", "hidden", "weights", "first", "inner", "last")
_WRITTEN = ("dkey", "dquery", "dfirst", "dinner", "dbiases")
_SIZES = ("height", "width", "channels", "outputs", "groups", "kernel", "dilation", "scores", "dtype")
DifferenceSlopes = native.struct(
    "DifferenceSlopes",
    **dict.fromkeys((*_GIVEN, *_WRITTEN), native.ADDRESS),
    **dict.fromkeys(_SIZES, native.COUNT),
)


def can_difference(channels: int, outputs: int, groups: int) -> bool:
    """Return whether the kernel takes paired differences of these sizes: whole lanes of outputs in every group.

    Args:
        channels: channels of the key.
        outputs: outputs of all groups.
        groups: groups of both.
    """
    return channels % groups == 0 and outputs % (groups * native.LANES) == 0


def _lanes(weight: Tensor, groups: int) -> Tensor:
    """[outputs, inputs] -> the order of the kernel: [groups, outputs / groups / LANES, inputs, LANES]."""
    return weight.view(groups, -1, native.LANES, weight.shape[1]).transpose(2, 3)


def differences(
    key: Tensor,
    query: Tensor,
    weight: Tensor,
    bias: Tensor,
    inner: Tensor,
    inner_bias: Tensor,
    kernel: int,
    dilation: int,
    coarse: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute two layers of paired differences of one image, each rectified.

    Args:
        key, query: [C, H, W].
        weight: [O, C / groups * (kernel^2 + 1)], of the taps of each channel of the key, then of the query's channels.
        bias: [O].
        inner, inner_bias: [O, O / groups] and [O], of the second layer.
        kernel: taps along a side of the window, odd.
        dilation: steps between taps, in pixels.
        coarse: [C, H / dilation, W / dilation], the map that the key is a bilinear resize of, or None. Sums over taps that are one of
            its pixels apart are the same before a resize as after it, so that they are taken there.

    Returns:
        [H * W, O], and the sums over the pixels of these and of their squares, float64 [2, O].
    """
    query = query.contiguous()
    (c, h, w), outputs = query.shape, len(weight)
    groups = outputs // inner.shape[1]
    tiles = math.ceil(h / TILE) * math.ceil(w / TILE)
    out = on_huge_pages(query.new_empty((h * w, outputs)))
    sums = query.new_empty((tiles, 2, outputs))
    job = Differences(
        height=h,
        width=w,
        channels=c,
        outputs=outputs,
        groups=groups,
        kernel=kernel,
        dilation=dilation,
        ratio=dilation,
        dtype=DTYPES.index(query.dtype),
    )
    if coarse is None:
        key, summed = key.contiguous(), None
        job.key = key.data_ptr()
    else:
        taps = c // groups * kernel**2
        summed = _coarse(coarse.contiguous(), weight[:, :taps], bias, groups, kernel)
        job.coarse, weight = summed.data_ptr(), weight[:, taps:]
    layers = [_packed(by, b, groups) for by, b in ((weight, bias), (inner, inner_bias))]
    job.query, job.out, job.sums = (t.data_ptr() for t in (query, out, sums))
    job.weights, job.inner = (t.data_ptr() for t in layers)
    run("differences", job, tiles, TILES)
    return out, sums.sum(0, dtype=torch.float64)


def _packed(weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    """A layer's numbers as the kernel reads them."""
    return torch.cat((_lanes(weight.contiguous(), groups).flatten(), bias))


def _coarse(key: Tensor, weight: Tensor, bias: Tensor, groups: int, kernel: int) -> Tensor:
    """The sums over the taps of a map with one more pixel on each side: [(H + 2) (W + 2), O]."""
    (c, h, w), outputs = key.shape, len(weight)
    out, numbers = key.new_empty(((h + 2) * (w + 2), outputs)), _packed(weight, bias, groups)
    job = Differences(height=h, width=w, channels=c, outputs=outputs, groups=groups, kernel=kernel)
    job.key, job.weights, job.out, job.dtype = (
        key.data_ptr(),
        numbers.data_ptr(),
        out.data_ptr(),
        DTYPES.index(key.dtype),
    )
    run("coarse", job, math.ceil((h + 2) / TILE) * math.ceil((w + 2) / TILE), TILES)
    return out


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
    weights = _packed(*first, groups)
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
