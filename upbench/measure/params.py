"""Parameters and buffers of a module."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Params:
    """The sizes of a module.

    Args:
        total: Number of elements of all parameters.
        trainable: Number of elements of parameters that require a gradient.
        buffers: Number of elements of all buffers.
        bytes: Bytes of all parameters and buffers together.
    """

    total: int
    trainable: int
    buffers: int
    bytes: int


def count(module: nn.Module) -> Params:
    """Count every parameter and buffer once, however often the module uses it."""
    parameters, buffers = list(module.parameters()), list(module.buffers())
    return Params(
        total=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        buffers=sum(b.numel() for b in buffers),
        bytes=sum(t.numel() * t.element_size() for t in parameters + buffers),
    )
