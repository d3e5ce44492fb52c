"""Windows at any scale: the k x k pixels around each output pixel's parent, which need not have equally many children.

One op each, whichever form runs inside: the eager one reads the windows and takes them as points, the fused one never
holds them.
"""

from __future__ import annotations

from torch import Tensor

from upbench.ops._why_not import resolve
from upbench.ops.fused import window_assemble_fused, window_similarity_fused
from upbench.ops.points import point_assemble, point_similarity
from upbench.ops.registration import numel, register
from upbench.ops.similarity import read_windows


@register(
    "nearby_similarity(Tensor query, Tensor keys, int kernel, int heads, bool fused) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: args[0] ** 2 * numel(shapes[0]),
)
def _nearby_similarity(query: Tensor, keys: Tensor, kernel: int, heads: int, fused: bool) -> Tensor:
    if fused:
        return window_similarity_fused(query, keys, kernel, heads)
    return point_similarity(query, read_windows(keys, kernel, query.shape[2], query.shape[3]), heads)


@register(
    "nearby_assemble(Tensor x, Tensor weight, int kernel, bool fused) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: args[0] ** 2 * numel(shapes[-1]),
)
def _nearby_assemble(x: Tensor, weight: Tensor, kernel: int, fused: bool) -> Tensor:
    if fused:
        return window_assemble_fused(x, weight, kernel)
    return point_assemble(weight, read_windows(x, kernel, weight.shape[3], weight.shape[4]))


def nearby_similarity(query: Tensor, keys: Tensor, kernel: int, heads: int, *, backend: str = "eager") -> Tensor:
    """Dot product of each query with the keys in the window around its parent.

    query: [B, C, H', W']; keys: [B, C, H, W], heads divides C -> [B, heads, kernel^2, H', W']; kernel odd, any ratio.
    The parent is that of `read_windows`; taps outside the map give zero.
    backend: eager, fused (on a CPU the taps of the result lie last in memory) or auto.
    MACs: kernel^2 per query value, class gather. Raises BackendError.
    """
    fused = resolve("nearby_similarity", backend, query, keys) == "fused"
    return _nearby_similarity(query, keys, kernel, heads, fused)


def nearby_assemble(x: Tensor, weight: Tensor, kernel: int, *, backend: str = "eager") -> Tensor:
    """Weighted sum of the window around each output pixel's parent.

    x: [B, C, H, W]; weight: [B, heads, kernel^2, H', W'], heads divides C -> [B, C, H', W']; kernel odd, any ratio.
    backend: eager, fused (on a CPU the result is channels-last) or auto.
    MACs: kernel^2 per output value, class gather. Raises BackendError.
    """
    fused = resolve("nearby_assemble", backend, x, weight) == "fused"
    return _nearby_assemble(x, weight, kernel, fused)
