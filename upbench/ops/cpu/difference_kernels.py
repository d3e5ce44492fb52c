"""Paired differences and their gradients by the C kernels for steps on whole maps (`csrc/layers.h`, `csrc/layer_slopes.h`)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from upbench.ops.cpu import native, structs
from upbench.ops.cpu.map_kernels import DTYPES, PARCEL, pairs_at_hand, run
from upbench.ops.memory_layout import on_huge_pages

TILE = 8
"""Pixels along a side of a tile."""
TILES = 8
"""Tiles that a thread takes at a time."""

Differences = structs.struct(
    "Differences",
    **dict.fromkeys(("key", "query", "coarse", "weights", "inner", "means", "out", "sums"), structs.ADDRESS),
    **dict.fromkeys(
        ("height", "width", "channels", "outputs", "groups", "kernel", "dilation", "ratio", "dtype"), structs.COUNT
    ),
)
Scores = structs.struct(
    "Scores",
    **dict.fromkeys(("x", "weights", "bias", "out"), structs.ADDRESS),
    **dict.fromkeys(("pixels", "inputs", "outputs", "dtype"), structs.COUNT),
)
_GIVEN = ("key", "query", "grad", "hidden", "weights", "first", "inner", "last")
_WRITTEN = ("dkey", "dquery", "dfirst", "dinner", "dbiases")
_SIZES = ("height", "width", "channels", "outputs", "groups", "kernel", "dilation", "scores", "dtype")
DifferenceSlopes = structs.struct(
    "DifferenceSlopes",
    **dict.fromkeys((*_GIVEN, *_WRITTEN), structs.ADDRESS),
    **dict.fromkeys(_SIZES, structs.COUNT),
)


def can_difference(channels: int, outputs: int, groups: int) -> bool:
    """Return whether the kernel takes paired differences of these sizes: whole lanes of outputs in every group.

    Args:
        channels: channels of the key.
        outputs: outputs of all groups.
        groups: groups of both.
    """
    return channels % groups == 0 and outputs % (groups * native.LANES) == 0


def by_pairs(channels: int, outputs: int, groups: int) -> bool:
    """Return whether the kernel multiplies in pairs of bfloat16 where rounding is allowed: whole pairs and pairs of lanes in every group.

    Args:
        channels: channels of the key.
        outputs: outputs of all groups.
        groups: groups of both.
    """
    return pairs_at_hand() and channels % (2 * groups) == 0 and outputs % (2 * groups * native.LANES) == 0


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
    means: Tensor | None = None,
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
        means: [2, C], what is subtracted from key and query before they are rounded to bfloat16, as their weights are, where `by_pairs`
            says so; None to compute in float32.

    Returns:
        [H * W, O], with means in bfloat16, and the sums over the pixels of these and of their squares, float64 [2, O].
    """
    query = query.contiguous()
    (c, h, w), outputs = query.shape, len(weight)
    groups = outputs // inner.shape[1]
    tiles = math.ceil(h / TILE) * math.ceil(w / TILE)
    out = on_huge_pages(query.new_empty((h * w, outputs), dtype=query.dtype if means is None else torch.bfloat16))
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
    taps = c // groups * kernel**2
    around, centre = weight.split((taps, c // groups), 1)
    if means is not None:
        means = means.contiguous()
        job.means, around, centre, inner = (
            means.data_ptr(),
            _paired(around, kernel**2),
            _paired(centre, 1),
            _paired(inner, 1),
        )
    if coarse is None:
        weight = torch.cat((around, centre), 1)
        key, summed = key.contiguous(), None
        job.key = key.data_ptr()
    else:
        summed = _coarse(coarse.contiguous(), around, bias, groups, kernel, job.means)
        job.coarse, weight = summed.data_ptr(), centre
    layers = [_packed(by, b, groups) for by, b in ((weight, bias), (inner, inner_bias))]
    job.query, job.out, job.sums = (t.data_ptr() for t in (query, out, sums))
    job.weights, job.inner = (t.data_ptr() for t in layers)
    run("differences", job, tiles, TILES, h * w * (weight.numel() + inner.numel()))
    return out, sums.sum(0, dtype=torch.float64)


def _packed(weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    """A layer's numbers as the kernel reads them."""
    return torch.cat((_lanes(weight.contiguous(), groups).flatten(), bias))


def _paired(weight: Tensor, taps: int) -> Tensor:
    """Weights [O, channels * taps] in bfloat16, those of two channels as one float32: [O, channels / 2 * taps]."""
    rows = weight.unflatten(1, (-1, 2, taps)).transpose(2, 3).bfloat16()
    return rows.flatten(1).contiguous().view(torch.float32)


def _coarse(key: Tensor, weight: Tensor, bias: Tensor, groups: int, kernel: int, means: int | None) -> Tensor:
    """The sums over the taps of a map with one more pixel on each side: [(H + 2) (W + 2), O]."""
    (c, h, w), outputs = key.shape, len(weight)
    out, numbers = key.new_empty(((h + 2) * (w + 2), outputs)), _packed(weight, bias, groups)
    job = Differences(height=h, width=w, channels=c, outputs=outputs, groups=groups, kernel=kernel, means=means)
    job.key, job.weights, job.out, job.dtype = (
        key.data_ptr(),
        numbers.data_ptr(),
        out.data_ptr(),
        DTYPES.index(key.dtype),
    )
    run("coarse", job, math.ceil((h + 2) / TILE) * math.ceil((w + 2) / TILE), TILES, h * w * weight.numel())
    return out


def scores(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply a pointwise convolution to rows that were rounded to bfloat16, as its weight is, where `by_pairs` says so.

    Args:
        rows: [N, I], contiguous.
        weight, bias: [O, I] and [O].

    Returns:
        [O, N] in float32.
    """
    (pixels, inputs), outputs, lanes = rows.shape, len(weight), native.LANES
    padding = (0, -outputs % lanes)
    pairs = F.pad(_paired(weight, 1).t(), padding).unflatten(1, (-1, lanes)).transpose(0, 1).contiguous()
    shift, out = F.pad(bias.float(), padding), bias.new_empty((outputs, pixels), dtype=torch.float32)
    job = Scores(pixels=pixels, inputs=inputs, outputs=outputs)
    job.x, job.weights, job.bias, job.out = (t.data_ptr() for t in (rows, pairs, shift, out))
    run("scores", job, math.ceil(pixels / PARCEL), TILES, pixels * weight.numel())
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
    run("difference_slopes", job, strips, 1, 2 * h * w * first[0].numel())
    padded = key.new_zeros((c, h + 2 * reach, w))
    for n in range(strips):
        rows = padded[:, n * TILE : n * TILE + TILE + 2 * reach]
        rows += dkey[n, :, : rows.shape[1]]
    whole = torch.ops.aten.replication_pad2d_backward(padded, key, [0, 0, reach, reach]) if reach else padded
    dfirst, dinner, dbiases = (t.sum(0, dtype=torch.float64).to(key.dtype) for t in written[2:])
    dbias, dinner_bias = dbiases
    return (whole, dquery, dfirst.mT.flatten(0, 1), dbias, dinner.mT.flatten(0, 1), dinner_bias)
