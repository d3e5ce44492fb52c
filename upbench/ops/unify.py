"""Unification: features of any number of channels become as many maps as there are filters."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from upbench.ops.registration import coordinate_dtype, numel, register


def inside(count: int, kernel: int, like: Tensor) -> Tensor:
    """Return how many taps around each pixel of one side are inside the map.

    Args:
        count: pixels of the side.
        kernel: taps around each, odd.
        like: gives the device, and the dtype by `coordinate_dtype`.

    Returns:
        [count].
    """
    index = torch.arange(count, device=like.device)
    first, last = (index - kernel // 2).clamp(min=0), (index + kernel // 2).clamp(max=count - 1)
    return (last - first + 1).to(coordinate_dtype(like.dtype))


@register(
    "unify_channels(Tensor x, Tensor basis, bool interleaved) -> Tensor",
    kind="conv",
    macs=lambda shapes, args: shapes[0][1] * numel(shapes[1][2:]) * numel(shapes[-1]),
)
def _unify_channels(x: Tensor, basis: Tensor, interleaved: bool) -> Tensor:
    b, c, h, w = x.shape
    filters, kernel = basis.shape[0], basis.shape[2]
    wide = coordinate_dtype(x.dtype)
    maps = F.conv2d(x.reshape(b * c, 1, h, w).to(wide), basis.to(wide), padding=kernel // 2)
    taps = inside(h, kernel, x)[:, None] * inside(w, kernel, x)
    maps = maps.reshape(b, c, filters, h, w) / taps
    if interleaved:
        return maps.reshape(b, filters, c, h, w).softmax(1).mean(2)
    return maps.softmax(2).mean(1)


def unify_channels(x: Tensor, basis: Tensor, interleaved: bool = True) -> Tensor:
    """Return the mean over the channels of a softmax over the filters that every channel is correlated with.

    Args:
        x: [B, C, H, W].
        basis: [M, 1, k, k], the filters; k odd.
        interleaved: whether the C * M correlations, which are in the order channel * M + filter, are read as M x C, as
            the release does: map r is then taken for filter r // C and channel r % C, and the result depends on the
            order of the channels. False reads them as they were written.

    Returns:
        [B, M, H, W], in at least float32: it is nearly 1 / M everywhere, and what follows looks at the difference.

    Taps outside the map are left out of the mean of a filter's taps. MACs: k^2 * C per output value, class conv.
    Source: AnyUp, feature unification.
    """
    return _unify_channels(x, basis, interleaved)
