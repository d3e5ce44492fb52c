"""Affinity: the product of two features, summed over the channels, as the only thing that kernels know of a place."""

from __future__ import annotations

from torch import Tensor

from upbench.ops._library import numel, register


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
