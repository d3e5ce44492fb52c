"""Steps between the ops that gain from a memory order or another dtype: convolutions and the softmax over taps."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops.dispatch import compute
from upbench.ops.resize import interpolate

FEW = 2**16
"""Values of float16 that torch norms as it is given them."""


def conv1x1(layer: nn.Conv2d, x: Float[Tensor, "B I H W"], *, backend: str = "eager") -> Float[Tensor, "B O H W"]:
    """Apply a 1x1 convolution.

    Args:
        layer: the convolution, from I to O channels.
        x: the map.
        backend: eager (the layer itself), fused (on a CPU one product of matrices, and the result channels-last) or auto.

    Returns:
        What the layer gives.

    Raises:
        BackendError: when the backend that was asked for is unknown.
    """
    return compute("conv1x1", backend, _apply, layer, x, optional=True)


def _apply(layer: nn.Module, x: Float[Tensor, "B I H W"]) -> Any:
    return layer(x)


def normed_conv1x1(
    norm: nn.Module, layer: nn.Conv2d, x: Float[Tensor, "B I H W"], wide: bool = False, *, backend: str = "eager"
) -> Float[Tensor, "B O H W"]:
    """Apply a norm and the 1x1 convolution after it, for steps that go plane by plane.

    Args:
        norm: the norm, or nn.Identity for none.
        layer: the convolution, from I to O channels.
        x: the map.
        wide: whether the result of half precision may be float32, where later steps are faster in it.
        backend: eager (the layers themselves), fused (on a CPU `conv1x1`, without the normed map where no gradient of half precision is recorded) or auto.

    Returns:
        What the layers give, contiguous.

    Raises:
        BackendError: when the backend that was asked for is unknown.
    """
    return compute("normed_conv1x1", backend, _apply_both, norm, layer, x, wide, optional=True)


def _apply_both(norm: nn.Module, layer: nn.Conv2d, x: Float[Tensor, "B I H W"], wide: bool) -> Float[Tensor, "B O H W"]:
    return layer(norm(x)).contiguous()


def convolution(
    layer: nn.Module,
    x: Float[Tensor, "B I H W"],
    added: Float[Tensor, "B O h w"] | None = None,
    *,
    backend: str = "eager",
) -> Float[Tensor, "B O oH oW"]:
    """Apply a convolution, or several layers with convolutions among them.

    Args:
        layer: the convolution, from I to O channels, or a module of layers that are called one after another.
        x: the map.
        added: a smaller map, which is added to the result, each pixel to all those within it; or None.
        backend: eager (the layer itself), fused (on a CPU 3x3 taps by a kernel of our own where no gradient is recorded; and where it
            has no products of the dtype such a map in float32, which is ten times as fast there) or auto.

    Returns:
        What the layer gives, in the dtype of x, plus `added` resized to it by nearest neighbours.

    Raises:
        BackendError: when the backend that was asked for is unknown.
    """
    return compute("convolution", backend, _convolve, layer, x, added, optional=True)


def _convolve(layer: nn.Module, x: Tensor, added: Tensor | None) -> Any:
    return with_added(layer(x), added)


def with_added(out: Tensor, added: Tensor | None) -> Tensor:
    """Add a smaller map, each pixel to all those within it.

    Args:
        out: the map.
        added: the smaller map, or None.
    """
    return out if added is None else out + interpolate(added, out.shape[2], out.shape[3], "nearest")


def softmax_over_taps(logits: Float[Tensor, "*shape"], dim: int, *, backend: str = "eager") -> Float[Tensor, "*shape"]:
    """Take the softmax over the taps of each output pixel.

    Args:
        logits: the logits of the taps, of any shape.
        dim: the dimension of the taps.
        backend: eager, fused (on a CPU the taps of the result lie last in memory) or auto.

    Returns:
        The weights, which sum to one over the taps.

    Raises:
        BackendError: when the backend that was asked for is unknown.
    """
    return compute("softmax_over_taps", backend, F.softmax, logits, dim, optional=True)


def group_norm(
    rows: Float[Tensor, "B C N"], groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Float[Tensor, "B C N"]:
    """Norm groups of channels, single values too; float16 on a CPU a few groups at a time in float32, which is faster there.

    Args:
        rows: the map, contiguous.
        groups: groups of channels, which divide C.
        weight: [C], factors, or None.
        bias: [C], shifts, or None.
        eps: added to the variance.
    """
    small = rows.dtype != torch.float16 or rows.device.type != "cpu" or rows.numel() < FEW
    if small or torch.is_grad_enabled() or torch.compiler.is_compiling() or weight is None or bias is None:
        single = rows.shape[0] == 1 and rows.shape[2] == 1 and rows.shape[1] == groups
        return (torch.group_norm if single else F.group_norm)(rows, groups, weight, bias, eps)
    each, together = rows.shape[1] // groups, math.gcd(groups, 2)
    out = torch.empty_like(rows)
    for first in range(0, rows.shape[1], together * each):
        part = slice(first, first + together * each)
        out[:, part] = F.group_norm(rows[:, part].float(), together, weight[part].float(), bias[part].float(), eps)
    return out


def convolve(layer: nn.Conv2d, x: Float[Tensor, "B I H W"]) -> Float[Tensor, "B O oH oW"]:
    """Apply a convolution in the dtype of x, whatever the dtype of its weights.

    The layer itself is called where its weights have that dtype, so that hooks on it run. A subclass that did the same
    would be missed by counters that look a layer up by its exact class.

    Args:
        layer: the convolution.
        x: the map.

    Returns:
        What the layer gives, in the dtype of x.
    """
    if layer.weight.dtype == x.dtype:
        return layer(x)
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    return layer._conv_forward(x, layer.weight.to(x.dtype), bias)
