"""The gradients of paired differences on the CPU, some rows of pixels at a time: nothing is kept from the forward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from upbench.ops import thresholds
from upbench.ops.cpu.differences import TENSORS, Image
from upbench.ops.registration import LIBRARY, coordinate_dtype

VALUES = 2**19
"""Values of what the first layer reads for some rows of pixels, of which the gradient is computed at a time."""


def slopes(
    grad: Float[Tensor, "B T H W"], key: Float[Tensor, "B e H W"], query: Float[Tensor, "B e H W"], *others: Any
) -> tuple[Tensor, ...]:
    """Compute the gradients of `forward` in its tensors.

    Args:
        grad: that of the scores.
        key: the map of keys.
        query: the map of queries.
        others: as in `forward`.
    """
    dtype = coordinate_dtype(key.dtype)
    layers, numbers = [t.to(dtype) for t in others[: TENSORS - 2]], others[TENSORS - 2 :]
    moves = [torch.empty_like(t, memory_format=torch.contiguous_format) for t in (key, query)]
    sums = [torch.zeros_like(t) for t in layers]
    for image in range(len(key)):
        one, other = (t[image].to(dtype).contiguous() for t in (key, query))
        made = Image(one, other, layers, numbers)
        dkey, dquery, *more = _image_slopes(grad[image].to(dtype), one, other, made, layers, numbers)
        moves[0][image], moves[1][image] = dkey, dquery
        for total, part in zip(sums, more, strict=True):
            total += part.view_as(total)
    return (*moves, *(total.to(t.dtype) for total, t in zip(sums, others, strict=False)))


def _image_slopes(
    grad: Tensor, key: Tensor, query: Tensor, made: Image, layers: Sequence[Tensor], numbers: Sequence[Any]
) -> tuple[Tensor, ...]:
    """The gradients of one image, in the order of the arguments of the op."""
    weight, groups, norm_groups, inner_groups = layers[2], numbers[0], numbers[2], numbers[4]
    rows = grad.flatten(1)
    dlast_bias, gram = rows.sum(1), rows @ made.hidden
    dlast = gram * made.norm.scale + torch.outer(dlast_bias, made.norm.shift)
    dscale, dshift = (made.last * gram).sum(0), made.last.t() @ dlast_bias
    dinner_gamma, dinner_beta, add, factor = made.norm.slopes(dscale, dshift, inner_groups, made.count)
    dkey, dquery, dfirst, dbias, dinner, dinner_bias = _first_slopes(
        rows, key, query, made, groups, numbers[1], weight.shape[2], add, factor
    )
    taps = weight.shape[1] * weight.shape[2] * weight.shape[3]
    daround, dcentre = dfirst[:, :taps].view_as(weight), -dfirst[:, taps:]
    scales = [n.scale[made.own] for n in (made.key, made.query)]
    dweight = daround * scales[0][..., None, None]
    dweight += (dcentre * scales[1] + dbias.unsqueeze(1) * made.apart[made.own])[..., None, None]
    channels = made.own.flatten()

    def summed(per_output: Tensor) -> Tensor:
        return key.new_zeros(len(key)).index_add_(0, channels, per_output.flatten())

    moved = summed(made.centre * dbias.unsqueeze(1))
    parts = (summed((daround * weight).sum((2, 3))), moved), (summed(dcentre * made.centre), -moved)
    dgamma, dbeta = torch.zeros_like(layers[0]), torch.zeros_like(layers[1])
    for norm, x, out, part in zip((made.key, made.query), (key, query), (dkey, dquery), parts, strict=True):
        more_gamma, more_beta, add, factor = norm.slopes(*part, norm_groups, key[0].numel() * len(key) // norm_groups)
        out.addcmul_(x, factor.view(-1, 1, 1)).add_(add.view(-1, 1, 1))
        dgamma, dbeta = dgamma + more_gamma, dbeta + more_beta
    small = (dgamma, dbeta, dweight, dbias, dinner, dinner_bias, dinner_gamma, dinner_beta, dlast, dlast_bias)
    return (dkey, dquery, *small)


def _first_slopes(
    grad: Tensor,
    key: Tensor,
    query: Tensor,
    made: Image,
    groups: int,
    dilation: int,
    kernel: int,
    add: Tensor,
    factor: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients of the first two layers, some rows of pixels at a time. grad: [T, H * W].

    add, factor: what the norm of the second layer's outputs h adds to their gradient, add + factor h.
    """
    (c, h, w), reach, square = key.shape, dilation * (kernel // 2), kernel * kernel
    padded = F.pad(key.unsqueeze(0), (reach,) * 4, mode="replicate")[0]
    dpadded, dquery = torch.zeros_like(padded), torch.empty_like(query)
    each, first = c // groups, made.first.unflatten(0, (groups, -1))
    inner, bias = made.inner.unflatten(0, (groups, -1)), made.bias.view(groups, -1, 1)
    dfirst, dbias, dinner = torch.zeros_like(first), torch.zeros_like(bias), torch.zeros_like(inner)
    dinner_bias = torch.zeros_like(made.bias)
    plane, line, _ = padded.stride(0), padded.stride(1), padded.stride(2)
    step = max(thresholds.scaled(VALUES) // (c * (square + 1) * w), 1)
    for top in range(0, h, step):
        count = min(step, h - top)
        some = slice(top * w, (top + count) * w)
        hidden = made.hidden[some]
        # Through the last layer, its norm and the rectifier before it: [pixels, O].
        du = torch.addmm(add, grad[:, some].t(), made.last_scaled).addcmul_(hidden, factor)
        du = torch.ops.aten.threshold_backward(du, hidden, 0).unflatten(1, (groups, -1)).permute(1, 2, 0)
        read = key.new_empty((groups, each * (square + 1), count, w))
        taps = read[:, : each * square].view(groups, each, kernel, kernel, count, w)
        strides = (each * plane, plane, dilation * line, dilation, line, 1)
        taps.copy_(padded.as_strided(taps.shape, strides, padded.storage_offset() + top * line))
        read[:, each * square :] = query[:, top : top + count].unflatten(0, (groups, each))
        columns = read.flatten(2)
        v = torch.baddbmm(bias, first, columns).relu_()
        dinner += du @ v.transpose(1, 2)
        dinner_bias += du.sum(2).flatten()
        dv = torch.ops.aten.threshold_backward(inner.transpose(1, 2) @ du, v, 0)
        dbias += dv.sum(2, keepdim=True)
        dfirst += dv @ columns.transpose(1, 2)
        dread = torch.matmul(first.transpose(1, 2), dv).unflatten(2, (count, w))
        dquery[:, top : top + count] = dread[:, each * square :].flatten(0, 1)
        dtaps = dread[:, : each * square].unflatten(1, (each, square)).flatten(0, 1)
        for tap in range(square):
            y, x = top + tap // kernel * dilation, tap % kernel * dilation
            dpadded[:, y : y + count, x : x + w] += dtaps[:, tap]
    dkey = torch.ops.aten.replication_pad2d_backward(dpadded, key, [reach] * 4) if reach else dpadded
    return dkey, dquery, dfirst.flatten(0, 1), dbias.flatten(), dinner.flatten(0, 1), dinner_bias


LIBRARY.impl("paired_difference_slope_fused", slopes, "CPU")
