"""Box filter: the mean over a square window; and the guided filter, which is made of such means."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from upbench.ops.dispatch import compute
from upbench.ops.registration import coordinate_dtype, numel, register
from upbench.ops.resize import resize_map


@register(
    "box_mean(Tensor x, int radius) -> Tensor",
    kind="conv",
    macs=lambda shapes, args: 2 * (2 * args[0] + 1) * numel(shapes[-1]),
)
def _box_mean(x: Float[Tensor, "B C H W"], radius: int) -> Float[Tensor, "B C H W"]:
    side = 2 * radius + 1
    # Pooling divides by the local count itself and, unlike a convolution, is not cast to half by autocast.
    rows = F.avg_pool2d(x, (1, side), stride=1, padding=(0, radius), count_include_pad=False)
    return F.avg_pool2d(rows, (side, 1), stride=1, padding=(radius, 0), count_include_pad=False)


def box_mean(x: Float[Tensor, "B C H W"], radius: int, *, backend: str = "eager") -> Float[Tensor, "B C H W"]:
    """Take the mean over the (2 radius + 1)^2 pixels around each pixel, those outside the map left out.

    Args:
        x: the map.
        radius: pixels from the centre of the window to its side.
        backend: eager (two poolings), fused (on a CPU one pass over every plane) or auto.

    Returns:
        The means: what a zero-padded convolution with ones gives, divided by the local count.

    Raises:
        BackendError: when the backend that was asked for is unknown.

    MACs: 2 (2 radius + 1) per value, class conv: what a row and a column convolution cost, as ReSFU's release does it.
    """
    return compute("box_mean", backend, _box_mean, x, radius, optional=True)


def guided_filter(
    guidance: Float[Tensor, "B C H W"],
    source: Float[Tensor, "B C H W"],
    radius: int,
    eps: float,
    subsample: int,
    *,
    backend: str = "eager",
) -> Float[Tensor, "B C H W"]:
    """Make a source locally affine in its guidance: the fast guided filter.

    Args:
        guidance: the map that the result follows.
        source: the map whose local means it has.
        radius: pixels from the centre of the means' window to its side, at the size of the means.
        eps: added to the variance.
        subsample: pixels of which the means keep the first along each axis.
        backend: eager (map by map), fused (on a CPU where no gradient is recorded: plane by plane, each held in cache) or auto.

    Returns:
        mean(a) guidance + mean(b), both means resized to H x W, where a = cov(guidance, source) / (var(guidance) + eps) and
        b = mean(source) - a mean(guidance), in at least float32; in the dtype of the guidance.

    Raises:
        BackendError: when the backend that was asked for is unknown.

    MACs: those of the steps. Source: He and Sun, Fast guided filter; ReSFU.
    """
    given = (guidance, source, radius, eps, subsample)
    return compute("guided_filter", backend, guided_filter_of_means, *given, optional=True)


def guided_filter_of_means(
    guidance: Float[Tensor, "B C H W"],
    source: Float[Tensor, "B C H W"],
    radius: int,
    eps: float,
    subsample: int,
    backend: str = "eager",
) -> Float[Tensor, "B C H W"]:
    """Compute `guided_filter` map by map.

    Args:
        guidance, source, radius, eps, subsample: as there.
        backend: of the means.
    """
    # The variance is a difference of near-equal means: half precision would leave nothing of it.
    dtype = coordinate_dtype(guidance.dtype)
    i, p = (_subsampled(t, subsample).to(dtype) for t in (guidance, source))

    def means(*maps: Tensor) -> Tensor:
        """Of all maps at once, as so many images."""
        return box_mean(torch.cat(maps), radius, backend=backend)

    def parted(maps: Tensor, count: int) -> tuple[Tensor, ...]:
        return maps.unflatten(0, (count, guidance.shape[0])).unbind()

    mean_i, mean_p, mean_ii, mean_ip = parted(means(i, p, i * i, i * p), 4)
    a = (mean_ip - mean_i * mean_p) / (mean_ii - mean_i * mean_i + eps)
    b = mean_p - a * mean_i
    a, b = parted(resize_map(means(a, b), guidance.shape[2], guidance.shape[3], backend=backend), 2)
    return (a * guidance + b).to(guidance.dtype)


def _subsampled(x: Float[Tensor, "B C H W"], step: int) -> Float[Tensor, "B C H1 W1"]:
    """The first of every `step` pixels, floor(size / step) of them, at least one."""
    for dim in (2, 3):
        count = max(x.shape[dim] // step, 1)
        # A strided slice is the same, but torch.export cannot prove its bounds for sizes that are dynamic.
        x = x.index_select(dim, torch.arange(count, device=x.device) * step)
    return x
