"""Similarity on windows: how alike each output pixel's query is to the low-resolution pixels around its parent."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from upbench.ops._why_not import autocasted, resolve, same_dtype
from upbench.ops.fused import window_similarity_fused
from upbench.ops.registration import numel, register


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


def window_similarity(query: Tensor, keys: Tensor, kernel: int, scale: int, *, backend: str = "eager") -> Tensor:
    """Dot product of each query with the keys in the window around its parent.

    query: [B, d, sH, sW]; keys: [B, d, H, W] -> [B, kernel^2, sH, sW]; kernel odd, scale integer.
    logit[t, p] = sum over c of query[c, p] * keys[c, parent(p) + offset(t)], zero where the tap is outside the map.
    backend: eager (unfold, then a product), fused (on a CPU the taps of the result lie last in memory) or auto.
    MACs: kernel^2 per query value, class gather. Source: SAPA, eq. 6 and 7. Raises BackendError, and InputError for two dtypes.
    """
    compared = autocasted(query, keys)
    same_dtype("window_similarity", "a query", compared[0], "keys", compared[1])
    if resolve("window_similarity", backend, *compared) == "fused":
        return window_similarity_fused(*compared, kernel, 1).squeeze(1)
    return _window_similarity(query, keys, kernel, scale)


def read_windows(x: Tensor, kernel: int, out_height: int, out_width: int) -> Tensor:
    """Read the window around each output pixel's parent, at any scale, for `point_similarity` and `point_assemble`.

    x: [B, C, H, W] -> [B, C, kernel^2, out_height, out_width]; kernel odd. The parent is the pixel that nearest
    interpolation copies, floor(i' * H / out_height) for row i'; taps outside the map read zero.
    The values are copied, not interpolated: no MACs.
    """
    return _read_windows(x, kernel, out_height, out_width)
