"""Affinity: the product of two features, summed over the channels, as the only thing that kernels know of a place."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upbench.ops.dispatch import compute
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


def kernel_affinity(
    guide: Tensor,
    first: nn.Sequential,
    second: nn.Sequential,
    first_norm: nn.Sequential,
    second_norm: nn.Sequential,
    pattern: nn.Sequential,
    *,
    backend: str = "eager",
) -> Tensor:
    """`affinity_logits` of a guide that is filtered twice, by filters that it predicts itself, normed and rectified.

    guide: [B, C, 2H, 2W] -> [B, T, H, W]. first, second: pooling to k x k, then a 1x1 convolution to one channel: the
    filters of a sample, applied to each of its channels at stride 2. first_norm, second_norm: group norm, then a leaky
    rectifier. pattern: pooling to a point, then a 1x1 convolution to T channels.
    backend: eager, fused (on a CPU where no gradient is recorded: without a map of the guide's size) or auto.
    MACs: those of the layers, and of the two filters 2 k^2 per value of the filtered maps. Source: A2U.
    """
    given = (guide, first, second, first_norm, second_norm, pattern)
    return compute("kernel_affinity", backend, _kernel_affinity, *given, optional=True)


def _kernel_affinity(
    guide: Tensor,
    first: nn.Sequential,
    second: nn.Sequential,
    first_norm: nn.Sequential,
    second_norm: nn.Sequential,
    pattern: nn.Sequential,
) -> Tensor:
    filters = torch.cat((first(guide), second(guide)), 1)
    # Samples as groups, channels as batch: every channel of a sample meets that sample's two filters.
    filtered = F.conv2d(
        guide.transpose(0, 1),
        filters.flatten(0, 1).unsqueeze(1),
        stride=2,
        padding=(filters.shape[-1] - 1) // 2,
        groups=guide.shape[0],
    )
    # [Cy, 2 B, H, W] -> twice [B, Cy, H, W]
    left, right = filtered.unflatten(1, (guide.shape[0], 2)).permute(2, 1, 0, 3, 4).unbind()
    return affinity_logits(first_norm(left), second_norm(right), pattern(guide))
