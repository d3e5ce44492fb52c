"""The gradients of paired differences on the CPU, a tile of pixels at a time: nothing is kept from the forward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from upbench.ops.cpu import difference_kernels
from upbench.ops.cpu.differences import TENSORS, Image, image_of
from upbench.ops.registration import LIBRARY, coordinate_dtype


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
    layers, numbers = [t.to(dtype) for t in others[: TENSORS - 2]], others[TENSORS - 2 : -2]
    moves = [torch.empty_like(t, memory_format=torch.contiguous_format) for t in (key, query)]
    sums = [torch.zeros_like(t) for t in layers]
    for image in range(len(key)):
        one, other = (t[image].to(dtype).contiguous() for t in (key, query))
        made = Image(one, other, layers, numbers, image_of(others[-1], image, dtype))
        dkey, dquery, *more = _image_slopes(grad[image].to(dtype), one, other, made, layers, numbers)
        moves[0][image], moves[1][image] = dkey, dquery
        for total, part in zip(sums, more, strict=True):
            total += part.view_as(total)
    return (*moves, *(total.to(t.dtype) for total, t in zip(sums, others, strict=False)))


def _image_slopes(
    grad: Tensor, key: Tensor, query: Tensor, made: Image, layers: Sequence[Tensor], numbers: Sequence[Any]
) -> tuple[Tensor, ...]:
    """The gradients of one image, in the order of the arguments of the op."""
    weight, norm_groups, inner_groups = layers[2], numbers[2], numbers[4]
    rows = grad.flatten(1)
    dlast_bias, gram = rows.sum(1), rows @ made.hidden
    dlast = gram * made.norm.scale + torch.outer(dlast_bias, made.norm.shift)
    dscale, dshift = (made.last * gram).sum(0), made.last.t() @ dlast_bias
    dinner_gamma, dinner_beta, add, factor = made.norm.slopes(dscale, dshift, inner_groups, made.count)
    layers_of = ((made.first, made.bias), made.inner, made.last_scaled, (add, factor))
    dkey, dquery, dfirst, dbias, dinner, dinner_bias = difference_kernels.difference_slopes(
        rows, key, query, made.hidden, *layers_of, weight.shape[2], numbers[1]
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


LIBRARY.impl("paired_difference_slope_fused", slopes, "CPU")
