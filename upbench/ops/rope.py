"""Rotary position embeddings on maps, and the positions that they and Fourier features start from."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from upbench.ops.dispatch import compute, no_autocast
from upbench.ops.registration import coordinate_dtype


def rotate_half(x: Tensor) -> Tensor:
    """Return (-second half, first half) of the channels. x: [..., C, H, W] -> the same shape."""
    first, second = x.chunk(2, dim=-3)
    return torch.cat((-second, first), dim=-3)


def rope(x: Tensor, angles: Tensor) -> Tensor:
    """Return x * cos(angles) + rotate_half(x) * sin(angles), in at least float32, in the dtype of x.

    It is a rotation where both halves of the angles are equal.

    Args:
        x: [..., C, H, W].
        angles: [C, H, W], in radians.
    """
    wide = x.to(angles.dtype)
    return (wide * angles.cos() + rotate_half(wide) * angles.sin()).to(x.dtype)


def ends(count: int, first: float, like: Tensor) -> Tensor:
    """Return evenly spaced positions, both ends included.

    Args:
        count: how many; one alone is `first`.
        first: the first; the last is 1.
        like: gives the device, and the dtype by `coordinate_dtype`.

    Returns:
        [count].
    """
    dtype = coordinate_dtype(like.dtype)
    if not isinstance(count, torch.SymInt):
        return torch.linspace(first, 1, count, device=like.device, dtype=dtype)
    # Under torch.export the count is a symbol, which linspace would make a constant of: the same numbers, to
    # the last bit or next to it, by hand.
    index = torch.arange(count, device=like.device, dtype=dtype)
    step = (1 - first) / torch.sym_max(count - 1, 1)
    return torch.where(index < torch.sym_max(count // 2, 1), first + step * index, 1 - step * (count - 1 - index))


def centres(count: int, like: Tensor) -> Tensor:
    """Return the centres of pixels that fill the span from -1 to 1: [count].

    Args:
        count: how many.
        like: gives the device, and the dtype by `coordinate_dtype`.
    """
    index = torch.arange(count, device=like.device, dtype=coordinate_dtype(like.dtype))
    return (index + 0.5) / count * 2 - 1


def plane(rows: Tensor, columns: Tensor) -> Tensor:
    """Return row and column position of every pixel: [H] and [W] -> [2, H, W], rows first."""
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"))


def plane_rope(
    x: Float[Tensor, "B C H W"],
    position: Float[Tensor, "2 H W"],
    freqs: Float[Tensor, "2 C"],
    *,
    backend: str = "eager",
) -> Float[Tensor, "B C H W"]:
    """Write positions into a map: `rope` by angles that are sums of a row's and a column's.

    Args:
        x: the map.
        position: row and column of every pixel, see `plane`: the first depends on the row alone, the second on the column.
        freqs: of each channel the radians by row and by column.
        backend: eager, fused (on a CPU where no gradient is recorded: sines and cosines of rows and of columns alone, from
            which those of their sums are made) or auto.

    Returns:
        `rope` of x by the angles position . freqs, which are at least float32 also under autocast.

    Raises:
        BackendError: for an unknown backend.

    MACs: those of the product and of `rope`. Source: JAFAR and AnyUp.
    """
    return compute("plane_rope", backend, _plane_rope, x, position, freqs, optional=True)


def _plane_rope(x: Tensor, position: Tensor, freqs: Tensor) -> Tensor:
    with no_autocast(x):
        angles = F.linear(position.movedim(0, -1), freqs.to(position.dtype).t())
    return rope(x, angles.movedim(-1, 0))
