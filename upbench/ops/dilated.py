"""Neighbourhood attention across scales: each output pixel attends to the cells around its parent, never outside."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from upbench.ops import thresholds
from upbench.ops.bands import bands
from upbench.ops.dispatch import compute, in_pieces
from upbench.ops.registration import numel, register

PIECE = 2**26
"""Bytes of a head's copies that a piece of the plain form holds, where it is computed in pieces."""


def neighbourhood(count: int, kernel: int, dilation: int, like: Tensor) -> Tensor:
    """Return the pixels, `dilation` apart, that each pixel of one side attends to.

    Args:
        count: pixels of the side; at least kernel * dilation.
        kernel: pixels that each attends to, odd.
        dilation: steps between them, in pixels.
        like: gives the device.

    Returns:
        [count, kernel].

    They are around the pixel where that is possible, else the nearest ones inside that are a whole number of
    dilations away. Source: NATTEN's index rule.
    """
    pixel = torch.arange(count, device=like.device)
    reach, phase = kernel // 2 * dilation, pixel % dilation
    last = count - 1 - (count - 1 - phase) % dilation  # the last pixel of the same phase
    first = torch.minimum(torch.maximum(pixel - reach, phase), last - (kernel - 1) * dilation)
    return first[:, None] + dilation * torch.arange(kernel, device=like.device)


def _read(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """[B, C, H', W'] -> [B, C, H', kernel, W', kernel]: the neighbourhood of every pixel."""
    return x[:, :, rows][..., columns]


def _rows_and_columns(
    height: int, width: int, cells: Sequence[int], kernel: int, like: Tensor, band: slice | None
) -> tuple[Tensor, Tensor]:
    rows = neighbourhood(height, kernel, height // cells[0], like)
    return rows if band is None else rows[band], neighbourhood(width, kernel, width // cells[1], like)


@register(
    "dilated_weights(Tensor query, Tensor keys, int kernel, int heads) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: args[0] ** 2 * numel(shapes[0]),
)
def _dilated_weights(query: Tensor, keys: Tensor, kernel: int, heads: int) -> Tensor:
    return _weights(query, keys, kernel, heads, query.shape[2], None)


def _weights(query: Tensor, keys: Tensor, kernel: int, heads: int, height: int, band: slice | None) -> Tensor:
    """The weights of the pixels of a query map of `height` rows, of which `query` is a band."""
    width = query.shape[3]
    rows, columns = _rows_and_columns(height, width, keys.shape[2:], kernel, query, band)
    query = query * (query.shape[1] // heads) ** -0.5
    weights = []
    # One head at a time: the copies of all would need kernel^2 times the memory of the query.
    for q, k in zip(query.chunk(heads, 1), keys.chunk(heads, 1), strict=True):
        k = _read(F.interpolate(k, (height, width), mode="nearest-exact"), rows, columns)
        weights.append(torch.einsum("bchw,bchiwj->bhwij", q, k).flatten(3).softmax(-1))
    return torch.stack(weights, 1)


@register(
    "dilated_assemble(Tensor x, Tensor weights, int kernel) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: args[0] ** 2 * numel(shapes[-1]),
)
def _dilated_assemble(x: Tensor, weights: Tensor, kernel: int) -> Tensor:
    return _assemble(x, weights, kernel, weights.shape[2], None)


def _assemble(x: Tensor, weights: Tensor, kernel: int, height: int, band: slice | None) -> Tensor:
    """The sums of the pixels of an output of `height` rows, of which `weights` are those of a band."""
    heads, width = weights.shape[1], weights.shape[3]
    rows, columns = _rows_and_columns(height, width, x.shape[2:], kernel, x, band)
    parts = []
    for w, v in zip(weights.unbind(1), x.chunk(heads, 1), strict=True):
        v = _read(F.interpolate(v, (height, width), mode="nearest-exact"), rows, columns)
        parts.append(torch.einsum("bhwij,bchiwj->bchw", w.to(v.dtype).unflatten(3, (kernel, kernel)), v))
    return torch.cat(parts, 1)


def dilated_weights(
    query: Float[Tensor, "B D oH oW"], keys: Float[Tensor, "B D H W"], kernel: int, heads: int
) -> Float[Tensor, "B heads oH oW K"]:
    """Attention of every output pixel to the kernel x kernel cells around its parent.

    Computed as released: keys are enlarged by nearest-exact interpolation and read H' // H apart. At whole ratios these are
    the cells around the pixel's parent, the window shifted inside at the border. MACs: kernel^2 per query value, class
    gather. Source: NAF, on NATTEN.

    Args:
        query: the query map, one vector per output pixel.
        keys: the key map.
        kernel: side of the window in cells, odd, at most H and W.
        heads: heads, a divisor of D.

    Returns:
        A softmax over the cells for each head.
    """
    return _dilated_weights(query, keys, kernel, heads)


def dilated_assemble(
    x: Float[Tensor, "B C H W"], weights: Float[Tensor, "B heads oH oW K"], kernel: int
) -> Float[Tensor, "B C oH oW"]:
    """Sum the cells that `dilated_weights` weighs, each head its own channels.

    MACs: kernel^2 per output value, class gather.

    Args:
        x: the map that is summed; heads divides C.
        weights: the weights of the cells.
        kernel: side of the window in cells, odd.

    Returns:
        The weighted sum per output pixel.
    """
    return _dilated_assemble(x, weights, kernel)


def dilated_attention(
    query: Float[Tensor, "B D oH oW"],
    keys: Float[Tensor, "B D H W"],
    x: Float[Tensor, "B C H W"],
    kernel: int,
    heads: int,
    *,
    backend: str = "eager",
) -> Float[Tensor, "B C oH oW"]:
    """Sum the cells around every output pixel's parent with the weights of its attention, each head its own channels.

    Args:
        query: the query map, one vector per output pixel.
        keys: the key map.
        x: the map that is summed; heads divides C.
        kernel: side of the window in cells, odd, at most H and W.
        heads: heads, a divisor of D.
        backend: eager, fused (at whole ratios; tiles of output pixels against the cells around their parents, channels-last
            on a CPU) or auto.

    Returns:
        `dilated_assemble` with `dilated_weights`.

    Raises:
        BackendError: when the backend that was asked for cannot compute it.

    MACs: kernel^2 per query value and output value. Source: NAF, on NATTEN.
    """
    return compute("dilated_attention", backend, _dilated_attention, query, keys, x, kernel, heads)


def _dilated_attention(query: Tensor, keys: Tensor, x: Tensor, kernel: int, heads: int) -> Tensor:
    if in_pieces():
        return _in_pieces(query, keys, x, kernel, heads)
    return dilated_assemble(x, dilated_weights(query, keys, kernel, heads), kernel)


def _in_pieces(query: Tensor, keys: Tensor, x: Tensor, kernel: int, heads: int) -> Tensor:
    """The same some rows at a time, which are computed once more for their gradients: copies of one band are held.

    As released, all copies are: 1.6 GB of each head at 224x224 pixels and 384 channels, and those of all heads for gradients.
    """
    b, height, width = query.shape[0], *query.shape[2:]
    row = b * max(query.shape[1], x.shape[1]) // heads * kernel**2 * width * x.element_size()
    parts = []
    for band in bands(height, row, thresholds.scaled(PIECE)):
        piece = partial(_band, kernel=kernel, heads=heads, height=height, band=band)
        given = query[:, :, band], keys, x
        parts.append(checkpoint(piece, *given, use_reentrant=False) if torch.is_grad_enabled() else piece(*given))
    return torch.cat(parts, 2)


def _band(query: Tensor, keys: Tensor, x: Tensor, kernel: int, heads: int, height: int, band: slice) -> Tensor:
    return _assemble(x, _weights(query, keys, kernel, heads, height, band), kernel, height, band)
