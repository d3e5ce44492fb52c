"""Attention from every output pixel to low-resolution cells: all of them, or those of a window."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from upbench.ops.dispatch import compute
from upbench.ops.registration import numel, register


def window_cells(outputs: int, cells: int, ratio: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first cell that each pixel of one side sees, and the one after the last.

    Args:
        outputs: output pixels of the side.
        cells: cells of the side.
        ratio: half the side of the window as a part of the map.
        like: gives the device.

    Returns:
        Two of [outputs].

    Pixel i at p = (i + 0.5) / outputs sees floor(cells * max(0, p - ratio)) to ceil(cells * min(1, p + ratio)) - 1.
    Computed in float32, whatever `like` is: where an edge falls on a cell's, rounding decides, and the released masks
    are float32. Source: AnyUp, its attention window.
    """
    centre = (torch.arange(outputs, device=like.device, dtype=torch.float32) + 0.5) / outputs
    first = torch.floor((centre - ratio).clamp(min=0) * cells).long()
    last = torch.ceil((centre + ratio).clamp(max=1) * cells).long()
    return first, last


def window_mask(out_height: int, out_width: int, height: int, width: int, ratio: float, like: Tensor) -> Tensor:
    """Return which cells each output pixel sees, see `window_cells`.

    Args:
        out_height: rows of the output.
        out_width: columns of the output.
        height: rows of cells.
        width: columns of cells.
        ratio: half the side of the window as a part of the map.
        like: gives the device.

    Returns:
        bool [out_height * out_width, height * width].
    """
    seen = []
    for outputs, cells in ((out_height, height), (out_width, width)):
        first, last = window_cells(outputs, cells, ratio, like)
        cell = torch.arange(cells, device=like.device)
        seen.append((cell >= first[:, None]) & (cell < last[:, None]))
    rows, columns = seen
    return (rows[:, None, :, None] & columns[None, :, None, :]).flatten(2).flatten(0, 1)


@register(
    "attention_weights(Tensor query, Tensor keys, int heads, float window) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: numel(shapes[0]) * numel(shapes[1][2:]),
)
def _attention_weights(query: Tensor, keys: Tensor, heads: int, window: float) -> Tensor:
    # Scaled before the product, as multi-head attention does: half precision overflows later.
    query = query * (query.shape[1] // heads) ** -0.5
    cells = keys.flatten(2).unflatten(1, (heads, -1))
    logits = query.flatten(2).unflatten(1, (heads, -1)).transpose(2, 3) @ cells
    if window > 0:
        seen = window_mask(query.shape[2], query.shape[3], keys.shape[2], keys.shape[3], window, query)
        logits = logits.masked_fill(~seen, -torch.inf)
    return F.softmax(logits, dim=-1)


@register(
    "attention_assemble(Tensor weights, Tensor values) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: numel(shapes[0][2:]) * shapes[1][0] * shapes[1][1],
)
def _attention_assemble(weights: Tensor, values: Tensor) -> Tensor:
    grouped = values.flatten(2).unflatten(1, (weights.shape[1], -1))
    return (weights.to(values.dtype) @ grouped.transpose(2, 3)).transpose(2, 3).flatten(1, 2)


@register("discard(Tensor out, Tensor dropped) -> Tensor", kind="elementwise", macs=lambda shapes, args: 0)
def _discard(out: Tensor, dropped: Tensor) -> Tensor:
    return out


def discard(out: Tensor, dropped: Tensor) -> Tensor:
    """Return `out` unchanged, and keep in the graph what no result depends on.

    Args:
        out: what is returned.
        dropped: what a released module computes and nobody reads.

    A trace would leave it out, and a counter with it; with this op it stays.
    """
    return _discard(out, dropped)


def attention_weights(
    query: Float[Tensor, "B D oH oW"], keys: Float[Tensor, "B D H W"], heads: int, window: float = 0.0
) -> Float[Tensor, "B heads P HW"]:
    """Return the softmax of the scaled products of every query with the cells that it sees, for each head.

    Args:
        query: the projected queries, one for each of the P = H' * W' output pixels.
        keys: the projected keys.
        heads: attention heads; divides D.
        window: 0 for all cells, else half the side of the window as a part of the map, see `window_cells`; the cells
            outside get zero.

    Returns:
        weight[p, q] = softmax over q of <query[p], keys[q]> / sqrt(D / heads).

    MACs: HW per query value (the mask saves nothing), class gather.
    """
    return _attention_weights(query, keys, heads, window)


def attention_assemble(
    weights: Float[Tensor, "B heads P HW"], values: Float[Tensor, "B C H W"]
) -> Float[Tensor, "B C P"]:
    """Sum all cells with weights, each head its own channels. One head weighs all channels alike.

    Args:
        weights: [B, heads, P, HW], heads divides C.
        values: [B, C, H, W].

    Returns:
        [B, C, P].

    MACs: HW per output value, class gather.
    """
    return _attention_assemble(weights, values)


def averaged_attention(
    query: Float[Tensor, "B D oH oW"],
    keys: Float[Tensor, "B D H W"],
    x: Float[Tensor, "B C H W"],
    values: Float[Tensor, "B D H W"],
    weight: Float[Tensor, "D D"],
    bias: Float[Tensor, " D"],
    heads: int,
    window: float = 0.0,
    *,
    backend: str = "eager",
) -> Float[Tensor, "B C oH oW"]:
    """Sum the cells that every output pixel sees with the weights of its attention, averaged over the heads.

    That is what torch's multi-head attention returns as weights, times x. What it returns beside them the releases drop: the
    eager form computes it, and others count it.

    Args:
        query: the projected queries, one per output pixel; heads divides D.
        keys: the projected keys.
        x: the map that is summed.
        values: the projected values, which nothing depends on.
        weight: matrix of the output projection, which nothing depends on.
        bias: bias of the output projection, which nothing depends on.
        heads: attention heads.
        window: 0 for all cells, else half the side of the window as a part of the map, see `window_cells`.
        backend: eager, fused (tiles of output pixels against the cells of their windows, channels-last on a CPU) or auto.

    Returns:
        out[p] = mean over heads of softmax_q(<query[p], keys[q]> / sqrt(D / heads)) times x[q], summed over q.

    Raises:
        BackendError: when the backend that was asked for cannot compute it.

    MACs: those of `attention_weights`, of `attention_assemble` for x and for values, and of the output projection. Source:
    JAFAR and AnyUp, their cross attention.
    """
    given = (query, keys, x, values, weight, bias, heads, window)
    return compute("averaged_attention", backend, _averaged_attention, *given)


def _averaged_attention(
    query: Tensor,
    keys: Tensor,
    x: Tensor,
    values: Tensor,
    weight: Tensor,
    bias: Tensor,
    heads: int,
    window: float,
) -> Tensor:
    size = (query.shape[2], query.shape[3])
    weights = attention_weights(query, keys, heads, window)
    out = attention_assemble(weights.mean(1, keepdim=True), x).unflatten(2, size)
    dropped = attention_assemble(weights, values).unflatten(2, size)
    return discard(out, F.conv2d(dropped, weight[..., None, None], bias))
