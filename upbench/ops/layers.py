"""Steps between the ops that gain from a memory order: a 1x1 convolution and the softmax over taps."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from upbench.ops.dispatch import compute


def conv1x1(layer: nn.Conv2d, x: Tensor, *, backend: str = "eager") -> Tensor:
    """A 1x1 convolution: [B, I, H, W] -> [B, O, H, W].

    backend: eager (the layer itself), fused (on a CPU one product of matrices, and the result channels-last) or auto.
    """
    return compute("conv1x1", backend, _conv1x1, layer, x, optional=True)


def _conv1x1(layer: nn.Conv2d, x: Tensor) -> Tensor:
    return layer(x)


def softmax_over_taps(logits: Tensor, dim: int, *, backend: str = "eager") -> Tensor:
    """Softmax over dimension `dim`, in which the taps lie. logits: of any shape.

    backend: eager, fused (on a CPU the taps of the result lie last in memory) or auto.
    """
    return compute("softmax_over_taps", backend, F.softmax, logits, dim, optional=True)
