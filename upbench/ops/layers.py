"""Steps between the ops that gain from a memory order or another dtype: convolutions and the softmax over taps."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops.dispatch import compute


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


def _apply(layer: nn.Conv2d, x: Float[Tensor, "B I H W"]) -> Float[Tensor, "B O H W"]:
    return layer(x)


def convolution(layer: nn.Conv2d, x: Float[Tensor, "B I H W"], *, backend: str = "eager") -> Float[Tensor, "B O oH oW"]:
    """Apply a convolution.

    Args:
        layer: the convolution, from I to O channels.
        x: the map.
        backend: eager (the layer itself), fused (on a CPU that has no arithmetic of float16 such a map in float32, which is
            ten times as fast there) or auto.

    Returns:
        What the layer gives, in the dtype of x.

    Raises:
        BackendError: when the backend that was asked for is unknown.
    """
    return compute("convolution", backend, _apply, layer, x, optional=True)


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
