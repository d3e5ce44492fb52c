"""Scores of neighbours by learned differences of key and query."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops.dispatch import compute


def paired_difference(
    key: Float[Tensor, "B e oH oW"],
    query: Float[Tensor, "B e oH oW"],
    norm: nn.Module,
    weight: Float[Tensor, "O each k k"],
    bias: Float[Tensor, "1 O 1 1"],
    compressor: nn.Sequential,
    groups: int,
    dilation: int,
    coarse: Float[Tensor, "B e H W"] | None = None,
    rounded: bool = False,
    *,
    backend: str = "eager",
) -> Float[Tensor, "B T oH oW"]:
    """Score the T neighbours of each pixel by differences of the keys around it and its query.

    Args:
        key: the map of keys.
        query: the map of queries.
        norm: group norm of both, each for itself.
        weight: for each of O outputs and each tap around a pixel, what the channels of its group weigh.
        bias: added to the sums.
        compressor: rectifier, 1x1 convolution in groups, rectifier, group norm, 1x1 convolution to T scores.
        groups: groups G of channels and of outputs.
        dilation: pixels from one tap to the next.
        coarse: a map that the key is `resize_map` of, or None. Where it is `dilation` times smaller the fused form sums over
            the taps before the resize.
        rounded: whether the fused form may round what it multiplies to bfloat16, as where maps of that became float32 on the way.
        backend: eager (layer by layer), fused (on a CPU one op) or auto.

    Returns:
        compressor(v) with v[p] = sum over taps n of weight[n] . (key[p + dilation n] - query[p]) + bias, both normed, the
        edges of the key repeated.

    Raises:
        BackendError: when the backend that was asked for is unknown.

    MACs: those of the layers. Source: ReSFU, paired central difference.
    """
    given = (key, query, norm, weight, bias, compressor, groups, dilation, coarse, rounded)
    return compute("paired_difference", backend, _paired_difference, *given, optional=True)


def _paired_difference(
    key: Tensor,
    query: Tensor,
    norm: Any,
    weight: Tensor,
    bias: Tensor,
    compressor: Any,
    groups: int,
    dilation: int,
    coarse: Tensor | None,
    rounded: bool,
) -> Tensor:
    reach = dilation * (weight.shape[2] // 2)
    key = F.pad(norm(key), (reach,) * 4, mode="replicate")
    around = F.conv2d(key, weight, dilation=dilation, groups=groups)
    centre = F.conv2d(norm(query), weight.sum((2, 3), keepdim=True), groups=groups)
    return compressor(around - centre + bias)
