"""Bilinear samples at predicted offsets from where bilinear interpolation reads: the whole of DySample."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops.dispatch import compute
from upbench.ops.layers import conv1x1
from upbench.ops.points import parents, sample_points
from upbench.ops.registration import coordinate_dtype

STATIC, DYNAMIC = 0.25, 0.5
"""What an offset is multiplied with, and what where it has a scope too."""


def sample_moved(
    x: Float[Tensor, "B C H W"],
    offset: nn.Conv2d,
    scope: nn.Conv2d | None,
    groups: int,
    scale: int,
    shuffle_first: bool,
    *,
    backend: str = "eager",
) -> Float[Tensor, "B C {scale}*H {scale}*W"]:
    """Take one bilinear sample for each output pixel and group of channels, at a predicted offset from the bilinear position.

    Args:
        x: the low-resolution map, which is sampled and gives the offsets.
        offset: 1x1 convolution to the offsets, those along x of all groups before those along y: of x to scale^2 * 2 * groups
            channels, or with `shuffle_first` of C / scale^2 to 2 * groups channels.
        scope: the same to the range of the offsets, or None for the same range everywhere.
        groups: groups of channels with offsets each; divides C.
        scale: output pixels per low-resolution pixel.
        shuffle_first: whether the channels become pixels before the convolutions (pixel shuffle), not after them.
        backend: eager, fused (on a CPU where no gradient is recorded the convolutions and one op, whose result is channels-last)
            or auto.

    Returns:
        out[p] = x(parent + centre of the sub-pixel + move), move = 0.25 * offset(x), or 0.5 * sigmoid(scope(x)) * offset(x);
        positions outside the map are clamped onto it.

    Raises:
        BackendError: when the backend that was asked for cannot compute it.

    MACs: those of the ops it stands for. Source: DySample, eq. 3-7.
    """
    eager = partial(_sample_moved, backend)
    return compute("sample_moved", backend, eager, x, offset, scope, groups, scale, shuffle_first, optional=True)


def _sample_moved(
    backend: str,
    x: Float[Tensor, "B C H W"],
    offset: nn.Conv2d,
    scope: nn.Conv2d | None,
    groups: int,
    scale: int,
    shuffle_first: bool,
) -> Float[Tensor, "B C {scale}*H {scale}*W"]:
    b, _, h, w = x.shape
    moves = sample_moves(x, offset, scope, scale, shuffle_first, backend=backend)
    # The grid is made here, and is no buffer of the module, so that a cast of it to half precision does not round it.
    base = parents(h, w, scale, x) + sub_pixel_centres(scale, x).squeeze(1).repeat(1, h, w)
    moves = moves.to(base.dtype).view(b, 2, groups, h * scale, w * scale)
    points = (moves + base.unsqueeze(1)).permute(0, 2, 3, 4, 1).unsqueeze(2)
    return sample_points(x, points, "border", backend=backend).squeeze(2)


def sample_moves(
    x: Float[Tensor, "B C H W"],
    offset: nn.Conv2d,
    scope: nn.Conv2d | None,
    scale: int,
    shuffle_first: bool,
    *,
    backend: str = "eager",
) -> Float[Tensor, "B _ {scale}*H {scale}*W"]:
    """Predict how far `sample_moved` moves its samples.

    Args:
        x: the low-resolution map.
        offset: see `sample_moved`.
        scope: the same.
        scale: the same.
        shuffle_first: the same.
        backend: of the 1x1 convolutions, see `conv1x1`.

    Returns:
        The moves in low-resolution pixels, those along x of all groups before those along y.

    Raises:
        BackendError: when the backend that was asked for is unknown.
    """
    b, _, h, w = x.shape
    # A pointwise layer does not mind where the pixels lie: the few channels that it makes are shuffled instead.
    source = x.reshape(b, -1, scale * scale * h, w) if shuffle_first else x
    moves = conv1x1(offset, source, backend=backend)
    moves = moves * STATIC if scope is None else moves * conv1x1(scope, source, backend=backend).sigmoid() * DYNAMIC
    return _shuffled(moves.reshape(b, -1, h, w), scale)


def sub_pixel_centres(scale: int, like: Tensor) -> Float[Tensor, "2 1 {scale} {scale}"]:
    """Give the centre of each sub-pixel relative to its parent's, (x, y) in low-resolution pixels.

    Args:
        scale: output pixels per low-resolution pixel.
        like: any tensor that gives the device, and the dtype through `coordinate_dtype`.
    """
    step = torch.arange(scale, device=like.device, dtype=coordinate_dtype(like.dtype))
    centre = (step + 0.5) / scale - 0.5
    return torch.stack((centre.expand(scale, -1), centre.view(-1, 1).expand(-1, scale))).unsqueeze(1)


def _shuffled(x: Float[Tensor, "B D H W"], scale: int) -> Float[Tensor, "B _ {scale}*H {scale}*W"]:
    """`F.pixel_shuffle`, which on a CPU takes four times as long as a copy in another order."""
    if x.device.type != "cpu" or torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined]
        return F.pixel_shuffle(x, scale)
    b, _, h, w = x.shape
    return x.unflatten(1, (-1, scale, scale)).permute(0, 1, 4, 2, 5, 3).reshape(b, -1, scale * h, scale * w)
