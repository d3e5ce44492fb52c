"""Windows: the k x k low-resolution pixels around the parent of each output pixel.

Output pixel (i', j') at integer scale s has the parent (i' // s, j' // s); at any scale, where pixels need not have equally
many children, that of nearest interpolation (`nearby_similarity`, `nearby_assemble`). Taps run row by row from the top
left; taps outside the map read zero, and the weights are not renormalised.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from upbench.ops.dispatch import autocasted, compute, same_dtype
from upbench.ops.points import point_assemble, point_similarity
from upbench.ops.registration import numel, register


@register(
    "window_assemble(Tensor x, Tensor weight, int kernel, int scale) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: args[0] ** 2 * numel(shapes[-1]),
)
def _window_assemble(x: Tensor, weight: Tensor, kernel: int, scale: int) -> Tensor:
    b, c, h, w = x.shape
    groups = weight.shape[1]
    taps = F.unfold(x, kernel, padding=kernel // 2).view(b, groups, c // groups, kernel * kernel, h, w)
    weight = weight.view(b, groups, kernel * kernel, h, scale, w, scale)
    out = torch.einsum("bgcthw,bgthuwv->bgchuwv", taps, weight)
    return out.reshape(b, c, h * scale, w * scale)


@register(
    "window_similarity(Tensor query, Tensor keys, int kernel, int scale) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: args[0] ** 2 * numel(shapes[0]),
)
def _window_similarity(query: Tensor, keys: Tensor, kernel: int, scale: int) -> Tensor:
    b, d, h, w = keys.shape
    taps = F.unfold(keys, kernel, padding=kernel // 2).view(b, d, kernel * kernel, h, w)
    # The sub-pixels of one parent share its window, so the keys are never copied to high resolution.
    query = query.view(b, d, h, scale, w, scale)
    logits = torch.einsum("bdthw,bdhuwv->bthuwv", taps, query)
    return logits.reshape(b, kernel * kernel, h * scale, w * scale)


@register(
    "read_windows(Tensor x, int kernel, SymInt out_height, SymInt out_width) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: 0,
)
def _read_windows(x: Tensor, kernel: int, out_height: int, out_width: int) -> Tensor:
    b, c, h, w = x.shape
    taps = F.unfold(x, kernel, padding=kernel // 2).view(b, c * kernel * kernel, h, w)
    # Of the ways to copy each window to its children, nearest interpolation has the cheapest gradient.
    read = F.interpolate(taps, size=(out_height, out_width), mode="nearest")
    return read.view(b, c, kernel * kernel, out_height, out_width)


@register(
    "nearby_similarity(Tensor query, Tensor keys, int kernel, int heads) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: args[0] ** 2 * numel(shapes[0]),
)
def _nearby_similarity(query: Tensor, keys: Tensor, kernel: int, heads: int) -> Tensor:
    return point_similarity(query, read_windows(keys, kernel, query.shape[2], query.shape[3]), heads)


@register(
    "nearby_assemble(Tensor x, Tensor weight, int kernel) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: args[0] ** 2 * numel(shapes[-1]),
)
def _nearby_assemble(x: Tensor, weight: Tensor, kernel: int) -> Tensor:
    return point_assemble(weight, read_windows(x, kernel, weight.shape[3], weight.shape[4]))


def window_assemble(x: Tensor, weight: Tensor, kernel: int, scale: int, *, backend: str = "eager") -> Tensor:
    """Weighted sum of the window around each output pixel's parent.

    x: [B, C, H, W]; weight: [B, G, kernel^2, sH, sW], one set of weights for each of G channel groups
    -> [B, C, sH, sW]. kernel odd, scale integer, G divides C.
    out[c, p] = sum over taps t of weight[c // (C/G), t, p] * x[c, parent(p) + offset(t)], taps outside the map zero.
    backend: eager (unfold, then a product), fused (the result is channels-last on a CPU) or auto.
    MACs: kernel^2 per output value, class gather. Source: CARAFE, eq. 2. Raises BackendError.
    """
    return compute("window_assemble", backend, _window_assemble, x, weight, kernel, scale)


def window_similarity(query: Tensor, keys: Tensor, kernel: int, scale: int, *, backend: str = "eager") -> Tensor:
    """Dot product of each query with the keys in the window around its parent.

    query: [B, d, sH, sW]; keys: [B, d, H, W] -> [B, kernel^2, sH, sW]; kernel odd, scale integer.
    logit[t, p] = sum over c of query[c, p] * keys[c, parent(p) + offset(t)], zero where the tap is outside the map.
    backend: eager (unfold, then a product), fused (on a CPU the taps of the result lie last in memory) or auto.
    MACs: kernel^2 per query value, class gather. Source: SAPA, eq. 6 and 7. Raises BackendError, and InputError for two dtypes.
    """
    lowered = autocasted(query, keys)
    same_dtype("window_similarity", "a query", lowered[0], "keys", lowered[1])
    return compute("window_similarity", backend, _window_similarity, query, keys, kernel, scale)


def read_windows(x: Tensor, kernel: int, out_height: int, out_width: int) -> Tensor:
    """Read the window around each output pixel's parent, at any scale, for `point_similarity` and `point_assemble`.

    x: [B, C, H, W] -> [B, C, kernel^2, out_height, out_width]; kernel odd. The parent is the pixel that nearest
    interpolation copies, floor(i' * H / out_height) for row i'; taps outside the map read zero.
    The values are copied, not interpolated: no MACs.
    """
    return _read_windows(x, kernel, out_height, out_width)


def nearby_similarity(query: Tensor, keys: Tensor, kernel: int, heads: int, *, backend: str = "eager") -> Tensor:
    """Dot product of each query with the keys in the window around its parent.

    query: [B, C, H', W']; keys: [B, C, H, W], heads divides C -> [B, heads, kernel^2, H', W']; kernel odd, any ratio.
    The parent is that of `read_windows`; taps outside the map give zero.
    backend: eager, fused (on a CPU the taps of the result lie last in memory) or auto.
    MACs: kernel^2 per query value, class gather. Raises BackendError.
    """
    return compute("nearby_similarity", backend, _nearby_similarity, query, keys, kernel, heads)


def nearby_assemble(x: Tensor, weight: Tensor, kernel: int, *, backend: str = "eager") -> Tensor:
    """Weighted sum of the window around each output pixel's parent.

    x: [B, C, H, W]; weight: [B, heads, kernel^2, H', W'], heads divides C -> [B, C, H', W']; kernel odd, any ratio.
    backend: eager, fused (on a CPU the result is channels-last) or auto.
    MACs: kernel^2 per output value, class gather. Raises BackendError.
    """
    return compute("nearby_assemble", backend, _nearby_assemble, x, weight, kernel)
