"""Affinity: kernels that depend on a pixel only through the dot product of two feature maps there (A2U)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops.dispatch import compute
from upbench.ops.portable import taps_last
from upbench.ops.registration import exporting, numel, register


@register(
    "affinity_logits(Tensor first, Tensor second, Tensor pattern) -> Tensor",
    kind="conv",
    macs=lambda shapes, args: numel(shapes[0]) + numel(shapes[-1]),
)
def _affinity_logits(
    first: Float[Tensor, "B C H W"], second: Float[Tensor, "B C H W"], pattern: Float[Tensor, "B T 1 1"]
) -> Float[Tensor, "B T H W"]:
    return (first * second).sum(1, keepdim=True) * first.shape[1] ** -0.5 * pattern


def affinity_logits(
    first: Float[Tensor, "B C H W"], second: Float[Tensor, "B C H W"], pattern: Float[Tensor, "B T 1 1"]
) -> Float[Tensor, "B T H W"]:
    """Scale a sample's tap pattern at every pixel by the dot product of two feature maps there: the logits of A2U.

    Args:
        first: one feature map.
        second: the other feature map.
        pattern: T numbers of each sample, which all of its pixels share.

    Returns:
        out[t, p] = pattern[t] * sum_c first[c, p] * second[c, p] / sqrt(C).

    MACs: one per value of `first` and one per output value, class conv, where the papers count A2U's. Source: A2U.
    """
    return _affinity_logits(first, second, pattern)


def kernel_affinity(
    guide: Float[Tensor, "B C iH iW"],
    first: nn.Sequential,
    second: nn.Sequential,
    first_norm: nn.Sequential,
    second_norm: nn.Sequential,
    pattern: nn.Sequential,
    *,
    backend: str = "eager",
) -> Float[Tensor, "B T H W"]:
    """Take `affinity_logits` of a guide that is filtered twice, by filters that it predicts itself, normed and rectified.

    Args:
        guide: the high-resolution map, of 2H x 2W pixels.
        first: pooling to k x k, then a 1x1 convolution to one channel: a sample's first filter, applied to each of its
            channels at stride 2.
        second: the same for its second filter.
        first_norm: group norm and leaky rectifier of what the first filter gives.
        second_norm: the same for the second filter.
        pattern: pooling to a point, then a 1x1 convolution to T channels.
        backend: eager, fused (on a CPU: without a map of the guide's size but its gradient) or auto.

    Returns:
        The logits of the T taps and sub-pixels.

    Raises:
        BackendError: when the backend that was asked for is unknown.

    MACs: those of the layers, and of the two filters 2 k^2 per value of the filtered maps. Source: A2U.
    """
    given = (guide, first, second, first_norm, second_norm, pattern)
    return compute("kernel_affinity", backend, _kernel_affinity, *given, optional=True)


def _kernel_affinity(
    guide: Float[Tensor, "B C iH iW"],
    first: nn.Sequential,
    second: nn.Sequential,
    first_norm: nn.Sequential,
    second_norm: nn.Sequential,
    pattern: nn.Sequential,
) -> Float[Tensor, "B T H W"]:
    filters = torch.cat((first(guide), second(guide)), 1)
    left, right = filtered_by_own(guide, filters)
    return affinity_logits(first_norm(left), second_norm(right), pattern(guide))


def filtered_by_own(guide: Float[Tensor, "B C iH iW"], filters: Float[Tensor, "B 2 k k"]) -> Sequence[Tensor]:
    """Filter every channel of a sample by that sample's two filters at stride 2.

    Args:
        guide: the map.
        filters: the two filters of each sample.

    Returns:
        Two maps [B, C, H, W].
    """
    b = guide.shape[0]
    kernel = filters.shape[-1]
    reach = (kernel - 1) // 2
    if exporting() and isinstance(b, torch.SymInt):
        # A number of groups that is not known before the call is no attribute of a convolution in other runtimes.
        rows = filters.reshape(b, 1, 1, 2, kernel * kernel) @ taps_last(guide, kernel, stride=2)
        return rows.permute(3, 0, 4, 1, 2).unbind()
    # Samples as groups, channels as batch: every channel of a sample meets that sample's two filters.
    filtered = F.conv2d(
        guide.transpose(0, 1), filters.flatten(0, 1).unsqueeze(1), stride=2, padding=reach, groups=guide.shape[0]
    )
    # [Cy, 2 B, H, W] -> twice [B, Cy, H, W]
    return filtered.unflatten(1, (b, 2)).permute(2, 1, 0, 3, 4).unbind()
