"""Windows: the k x k low-resolution pixels around the parent of each output pixel.

Output pixel (i', j') at integer scale s has the parent (i' // s, j' // s); at any scale, where pixels need not have equally
many children, that of nearest interpolation. Taps run row by row from the top left; taps outside the map read zero, and the
weights are not renormalised.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from upbench.ops.dispatch import autocasted, compute, same_dtype
from upbench.ops.points import point_assemble, point_similarity
from upbench.ops.registration import exporting, numel, register


@register(
    "window_assemble(Tensor x, Tensor weight, int kernel, int scale) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: args[0] ** 2 * numel(shapes[-1]),
)
def _window_assemble(
    x: Float[Tensor, "B C H W"], weight: Float[Tensor, "B G T sH sW"], kernel: int, scale: int
) -> Float[Tensor, "B C sH sW"]:
    b, c, h, w = x.shape
    groups = weight.shape[1]
    taps = F.unfold(x, kernel, padding=kernel // 2)
    if groups == 1 and exporting():
        # OpenVINO 2026.4.1 computes wrong values, without an error, of an einsum with a dimension of groups.
        taps, weight = taps.view(b, c, kernel * kernel, h, w), weight.view(b, kernel * kernel, h, scale, w, scale)
        return torch.einsum("bcthw,bthuwv->bchuwv", taps, weight).reshape(b, c, h * scale, w * scale)
    taps = taps.view(b, groups, c // groups, kernel * kernel, h, w)
    weight = weight.view(b, groups, kernel * kernel, h, scale, w, scale)
    out = torch.einsum("bgcthw,bgthuwv->bgchuwv", taps, weight)
    return out.reshape(b, c, h * scale, w * scale)


@register(
    "window_similarity(Tensor query, Tensor keys, int kernel, int scale) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: args[0] ** 2 * numel(shapes[0]),
)
def _window_similarity(
    query: Float[Tensor, "B d sH sW"], keys: Float[Tensor, "B d H W"], kernel: int, scale: int
) -> Float[Tensor, "B T sH sW"]:
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
def _read_windows(
    x: Float[Tensor, "B C H W"], kernel: int, out_height: int, out_width: int
) -> Float[Tensor, "B C T {out_height} {out_width}"]:
    b, c, h, w = x.shape
    taps = F.unfold(x, kernel, padding=kernel // 2).view(b, c * kernel * kernel, h, w)
    # Of the ways to copy each window to its children, nearest interpolation has the cheapest gradient.
    read = F.interpolate(taps, size=(out_height, out_width), mode="nearest")
    return read.view(b, c, kernel * kernel, out_height, out_width)


# Records, cards and counts know the windows at any ratio by these names of their registered ops.
@register(
    "nearby_similarity(Tensor query, Tensor keys, int kernel, int heads) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: args[0] ** 2 * numel(shapes[0]),
)
def _nearby_similarity(
    query: Float[Tensor, "B C oH oW"], keys: Float[Tensor, "B C H W"], kernel: int, heads: int
) -> Float[Tensor, "B {heads} T oH oW"]:
    return point_similarity(query, read_windows(keys, kernel, query.shape[2], query.shape[3]), heads)


@register(
    "nearby_assemble(Tensor x, Tensor weight, int kernel) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: args[0] ** 2 * numel(shapes[-1]),
)
def _nearby_assemble(
    x: Float[Tensor, "B C H W"], weight: Float[Tensor, "B heads T oH oW"], kernel: int
) -> Float[Tensor, "B C oH oW"]:
    return point_assemble(weight, read_windows(x, kernel, weight.shape[3], weight.shape[4]))


def window_assemble(
    x: Float[Tensor, "B C H W"],
    weight: Float[Tensor, "B G T oH oW"],
    kernel: int,
    scale: int | None = None,
    *,
    backend: str = "eager",
) -> Float[Tensor, "B C oH oW"]:
    """Sum the window around each output pixel's parent with weights.

    Args:
        x: the low-resolution map.
        weight: for each of G groups of channels, the weights of the T = kernel^2 taps; G divides C.
        kernel: side of the window in low-resolution pixels, odd.
        scale: output pixels per low-resolution pixel where that is a whole number that is known, so that no window is
            copied to high resolution; None for any ratio of the sizes.
        backend: eager, fused (on a CPU the result is channels-last) or auto.

    Returns:
        out[c, p] = sum over taps t of weight[c // (C/G), t, p] * x[c, parent(p) + offset(t)], zero outside the map.

    Raises:
        BackendError: when the backend that was asked for cannot compute it.

    MACs: kernel^2 per output value, class gather. Source: CARAFE, eq. 2.
    """
    if scale is None:
        return compute("nearby_assemble", backend, _nearby_assemble, x, weight, kernel)
    return compute("window_assemble", backend, _window_assemble, x, weight, kernel, scale)


def window_similarity(
    query: Float[Tensor, "B d sH sW"],
    keys: Float[Tensor, "B d H W"],
    kernel: int,
    scale: int,
    *,
    backend: str = "eager",
) -> Float[Tensor, "B T sH sW"]:
    """Compare each query with the keys in the window around its parent, at a whole scale.

    Args:
        query: the high-resolution map of queries.
        keys: the low-resolution map of keys, in the dtype of the queries.
        kernel: side of the window in low-resolution pixels, odd.
        scale: output pixels per low-resolution pixel.
        backend: eager (unfold, then a product), fused (on a CPU the taps of the result lie last in memory) or auto.

    Returns:
        The logits of the T = kernel^2 taps: sum over c of query[c, p] * keys[c, parent(p) + offset(t)], zero where the
        tap is outside the map.

    Raises:
        BackendError: when the backend that was asked for cannot compute it.
        InputError: when queries and keys have two dtypes.

    MACs: kernel^2 per query value, class gather. Source: SAPA, eq. 6 and 7.
    """
    lowered = autocasted(query, keys)
    same_dtype("window_similarity", "a query", lowered[0], "keys", lowered[1])
    return compute("window_similarity", backend, _window_similarity, query, keys, kernel, scale)


def window_head_similarity(
    query: Float[Tensor, "B C oH oW"],
    keys: Float[Tensor, "B C H W"],
    kernel: int,
    heads: int,
    *,
    backend: str = "eager",
) -> Float[Tensor, "B {heads} T oH oW"]:
    """Compare each query with the keys in the window around its parent, head by head and at any ratio of the sizes.

    Args:
        query: the high-resolution map of queries.
        keys: the low-resolution map of keys.
        kernel: side of the window in low-resolution pixels, odd.
        heads: parts of the channels that are compared each for itself; divides C.
        backend: eager, fused (on a CPU the taps of the result lie last in memory) or auto.

    Returns:
        The logits of the T = kernel^2 taps, zero where a tap is outside the map. The parent is that of `read_windows`.

    Raises:
        BackendError: when the backend that was asked for cannot compute it.

    MACs: kernel^2 per query value, class gather.
    """
    return compute("nearby_similarity", backend, _nearby_similarity, query, keys, kernel, heads)


def read_windows(
    x: Float[Tensor, "B C H W"], kernel: int, out_height: int, out_width: int
) -> Float[Tensor, "B C T {out_height} {out_width}"]:
    """Read the window around each output pixel's parent, at any scale, for `point_similarity` and `point_assemble`.

    Args:
        x: the low-resolution map.
        kernel: side of the window in low-resolution pixels, odd.
        out_height: rows of the output.
        out_width: columns of the output.

    Returns:
        The values of the T = kernel^2 taps. The parent is the pixel that nearest interpolation copies,
        floor(i' * H / out_height) for row i'; taps outside the map read zero. Values are copied, not interpolated: no MACs.
    """
    return _read_windows(x, kernel, out_height, out_width)
