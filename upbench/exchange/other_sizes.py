"""Inputs of other sizes than those that a module was captured with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

WIDE = 240
"""Columns of the wide map: half precision cannot name the pixels of its output."""
WIDEST = 960
"""Columns that no other input has more of: the image of an upsampler by 16 would otherwise have 3840, and minutes pass."""


def resized(tensors: Sequence[Tensor], height: int, width: int, batch: int = 1, seed: int = 1) -> tuple[Tensor, ...]:
    """Draw inputs like others of another size: each keeps its ratio to the first.

    Args:
        tensors: The inputs; the first is the low-resolution map. Tensors of another rank than 4 stay as they are.
        height: Rows of the first.
        width: Columns of the first.
        batch: Samples.
        seed: Of the values.
    """
    first = tensors[0]
    generator = torch.Generator().manual_seed(seed)
    found = []
    for tensor in tensors:
        if tensor.dim() != 4 or not tensor.is_floating_point():
            found.append(tensor)
            continue
        rows, columns = (round(tensor.shape[n] * new / first.shape[n]) for n, new in ((2, height), (3, width)))
        drawn = torch.randn(batch, tensor.shape[1], rows, columns, generator=generator)
        found.append(drawn.to(tensor.dtype))
    return tuple(found)


def odd(tensors: Sequence[Tensor], samples: int = 1) -> tuple[Tensor, ...]:
    """Draw samples with odd numbers of rows and columns, both other than those of the first tensor."""
    height, width = (n + 1 if n % 2 == 0 else n + 2 for n in tensors[0].shape[2:])
    return resized(tensors, height, width, samples)


def wide(tensors: Sequence[Tensor], samples: int = 1) -> tuple[Tensor, ...]:
    """Draw samples of `WIDE` columns, or as many as leave no other input with more than `WIDEST`."""
    height, width = tensors[0].shape[2:]
    ratio = max(t.shape[3] / width for t in tensors if t.dim() == 4)
    columns = min(WIDE, int(WIDEST / ratio))
    return resized(tensors, height + 2, columns if columns != width else columns + 16, samples)
