"""Affinity: the product of two features, summed over the channels, as the only thing that kernels know of a place."""

from __future__ import annotations

from torch import Tensor

from upbench.ops.cpu.affinity import affinity_fused, pool_both_fused
from upbench.ops.registration import numel, register


@register(
    "affinity_logits(Tensor first, Tensor second, Tensor pattern) -> Tensor",
    kind="conv",
    macs=lambda shapes, args: numel(shapes[0]) + numel(shapes[-1]),
)
def _affinity_logits(first: Tensor, second: Tensor, pattern: Tensor) -> Tensor:
    return (first * second).sum(1, keepdim=True) * first.shape[1] ** -0.5 * pattern


def affinity_logits(first: Tensor, second: Tensor, pattern: Tensor) -> Tensor:
    """A sample's pattern, scaled at every pixel by the affinity of two features.

    first, second: [B, C, H, W]; pattern: [B, T, 1, 1] -> [B, T, H, W].
    out[t, p] = pattern[t] * sum_c first[c, p] * second[c, p] / sqrt(C).
    MACs: one per value of `first` and one per output value, class conv, where the papers count A2U's. Source: A2U.
    """
    return _affinity_logits(first, second, pattern)


def pool_both(guide: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """A map pooled to size x size and to a point, read once. On a CPU, without gradients.

    guide: [B, C, H, W] -> [B, C, size, size] and [B, C, 1, 1].
    MACs: those of the three poolings that A2U does: two to the grid, one to the point.
    """
    both = pool_both_fused(guide, size)
    return both[:, :, :-1].unflatten(2, (size, size)), both[:, :, -1:].unsqueeze(3)


def filtered_affinity(
    guide: Tensor, filters: Tensor, scale: Tensor, shift: Tensor, pattern: Tensor, groups: int, eps: float, slope: float
) -> Tensor:
    """`affinity_logits` of a map filtered twice, normed and rectified. On a CPU, without gradients.

    guide: [B, C, 2H, 2W]; filters: [B, 2, k, k], applied to every channel at stride 2; scale, shift: [C, 2], of the
    group norm that follows each filter; slope: of the leaky rectifier after it; pattern: [B, T, 1, 1] -> [B, T, H, W].
    Computes in at least float32. MACs: those of the ops it stands for.
    """
    return affinity_fused(guide, filters, scale, shift, pattern, groups, eps, slope)
