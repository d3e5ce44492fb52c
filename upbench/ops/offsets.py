"""Points moved by predicted offsets: around each output pixel (LDA-AQU), or away from its parent (SAPA-D)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops.points import lattice, parents
from upbench.ops.resize import interpolate, output_size


def points_around(
    predictor: nn.Module,
    query: Float[Tensor, "B C oH oW"],
    theta: float,
    in_input_pixels: bool,
    height: int,
    width: int,
) -> Float[Tensor, "B G T oH oW 2"]:
    """Predict the low-resolution positions around each output pixel that it reads.

    Args:
        predictor: layers from [B G, d, H', W'] to [B G, T (y, x), H', W']; the first is a convolution of d channels.
        query: the high-resolution map of queries, of C = G d channels.
        theta: bound of the offsets in pixels.
        in_input_pixels: whether taps and theta are measured in low-resolution pixels, not in output pixels.
        height: rows of the low-resolution map.
        width: columns of the low-resolution map.

    Returns:
        The positions (x, y) in low-resolution pixels of T = k_u^2 taps for each of G groups:
        (output pixel + tap + theta * tanh(predictor(query))) * (size - 1) / (size' - 1), or with `in_input_pixels`
        output pixel * (size - 1) / (size' - 1) + tap + theta * tanh(predictor(query)).

    Source: LDA-AQU, eq. 8-10.
    """
    b, channels, out_h, out_w = query.shape
    groups = channels // predictor[0].in_channels  # type: ignore[index] # nn.Sequential, or its copy in a trace
    raw = predictor(query.reshape(b * groups, channels // groups, out_h, out_w))
    taps = raw.shape[1] // 2
    side = math.isqrt(taps)
    pixels = lattice(out_h, out_w, query)
    # [B, G, k_u^2, (y, x), H', W'] -> x first
    raw = raw.view(b, groups, taps, 2, out_h, out_w).flip(3).to(pixels.dtype)
    steps = (lattice(side, side, query) - (side - 1) // 2).flatten(1).t()
    moves = theta * raw.tanh() + steps.view(1, 1, taps, 2, 1, 1)
    if in_input_pixels:
        points = _to_low(pixels, height, width, out_h, out_w) + moves
    else:
        points = _to_low(pixels + moves, height, width, out_h, out_w)
    return points.permute(0, 1, 2, 4, 5, 3)


def _to_low(
    points: Float[Tensor, "*shape 2 oH oW"], height: int, width: int, out_h: int, out_w: int
) -> Float[Tensor, "*shape 2 oH oW"]:
    """Convert output pixels, x first, to low-resolution pixels, corner on corner.

    Multiplied before it is divided, so that the last pixel falls on the last exactly.
    """
    x, y = points.unbind(-3)
    return torch.stack((x * (width - 1) / max(out_w - 1, 1), y * (height - 1) / max(out_h - 1, 1)), dim=-3)


def child_points(
    offset: Float[Tensor, "B N H W"], groups: int, scale: int, each: bool
) -> Float[Tensor, "B {groups} P {scale}*H {scale}*W 2"]:
    """Move the parent of each output pixel by predicted offsets.

    Args:
        offset: N = groups * P * 2 offsets in low-resolution pixels, with `each` times scale^2, those of every sub-pixel
            (pixel shuffle).
        groups: groups of channels with points each.
        scale: output pixels per low-resolution pixel.
        each: whether every sub-pixel has offsets of its own.

    Returns:
        The positions (x, y) in low-resolution pixels.

    Source: SAPA-D, eq. 8.
    """
    b, channels, h, w = offset.shape
    height, width = output_size(h, w, scale)
    moved = F.pixel_shuffle(offset, scale) if each else interpolate(offset, height, width, "nearest")
    base = parents(h, w, scale, offset)
    points = channels // (2 * groups * (scale * scale if each else 1))
    moved = moved.view(b, groups, points, 2, height, width)
    return (moved.to(base.dtype) + base).permute(0, 1, 2, 4, 5, 3)


def grouped_convolution(
    local: Float[Tensor, "B C H W"], weight: Float[Tensor, "O I k k"], bias: Float[Tensor, " O"], groups: int
) -> Float[Tensor, "B H W O2"]:
    """Convolve groups of channels with weights that they share, as many zeros around the map as keep its size.

    Args:
        local: the map, of C = groups * I channels.
        weight: the taps of every group, k x k.
        bias: of every group.
        groups: of the channels.

    Returns:
        The O outputs of each group, one group after another.
    """
    weight, reach = weight.repeat(groups, 1, 1, 1), weight.shape[-1] // 2
    return F.conv2d(local, weight, bias.repeat(groups), padding=reach, groups=groups).permute(0, 2, 3, 1)


def predict_points(
    query: Float[Tensor, "B C oH oW"],
    first: Float[Tensor, "d 1 3 3"],
    gamma: Float[Tensor, " d"],
    beta: Float[Tensor, " d"],
    last: Float[Tensor, "T2 d k_e k_e"],
    bias: Float[Tensor, " T2"],
    eps: float,
    theta: float,
    in_input_pixels: bool,
    height: int,
    width: int,
    grouped: Callable[[Tensor, Tensor, Tensor, int], Tensor] = grouped_convolution,
) -> Float[Tensor, "B G T2//2 oH oW 2"]:
    """Predict the positions of `points_around` from the parameters of its layers, in fewer steps.

    Args:
        query: the high-resolution map of queries, of C = G d channels; fastest channels-last.
        first: kernel of the depthwise convolution.
        gamma: factors of the layer norm before the GELU.
        beta: shifts of the same.
        last: kernel of the last convolution, to (y, x) of each of k_u^2 taps.
        bias: bias of the same.
        eps: of the layer norm.
        theta: bound of the offsets in pixels.
        in_input_pixels: whether taps and theta are measured in low-resolution pixels, not in output pixels.
        height: rows of the low-resolution map.
        width: columns of the low-resolution map.
        grouped: what computes the last convolution.

    Returns:
        The positions (x, y) in low-resolution pixels; in memory all x before all y.
    """
    channels, out_h, out_w = query.shape[1:]
    first, gamma, beta, last, bias = (t.to(query.dtype) for t in (first, gamma, beta, last, bias))
    groups, taps = channels // first.shape[0], last.shape[0] // 2
    # The groups share their weights, and stay beside each other in memory.
    local = F.conv2d(query, first.repeat(groups, 1, 1, 1), padding=1, groups=channels).permute(0, 2, 3, 1)
    local = F.layer_norm(local.unflatten(-1, (groups, channels // groups)), gamma.shape, gamma, beta, eps)
    local = F.gelu(local).flatten(3).permute(0, 3, 1, 2)
    # Released channels are (tap, (y, x)): taken as (x, y) of all taps here.
    last, bias = (t.unflatten(0, (taps, 2)).flip(1).transpose(0, 1).flatten(0, 1) for t in (last, bias))
    raw = grouped(local, 2 * last, 2 * bias, groups)
    # [B, H', W', G (2, taps)] -> [2, B, H', W', G, taps]
    raw = raw.unflatten(3, (groups, 2, taps)).permute(4, 0, 1, 2, 3, 5).contiguous().sigmoid()
    pixels = lattice(out_h, out_w, query)[:, None, :, :, None, None]
    side = math.isqrt(taps)
    steps = (lattice(side, side, query) - side // 2).view(2, 1, 1, 1, 1, taps)
    # tanh(n) = 2 sigmoid(2 n) - 1, of which torch has the one six times as fast as the other.
    points = torch.add(query.new_tensor(-theta), raw, alpha=2 * theta)
    points += steps
    # Both axes at once: each written by itself would be a copy of all of them in the gradient.
    low, out = (
        torch.stack([pixels.new_full((), size) for size in sizes]).view(2, 1, 1, 1, 1, 1)
        for sizes in ((width - 1, height - 1), (max(out_w - 1, 1), max(out_h - 1, 1)))
    )
    # Multiplied before it is divided, so that the last pixel falls on the last exactly.
    if in_input_pixels:
        points += pixels * low / out
    else:
        points += pixels
        points = points.mul_(low).div_(out)
    return points.permute(1, 4, 5, 2, 3, 0)


def offset_points(
    offsets: Float[Tensor, "B H W spread 2 G P"], scale: int
) -> Float[Tensor, "B G P {scale}*H {scale}*W 2"]:
    """Move the parent of each output pixel, as `child_points` does, by offsets in the memory order of the fused ops.

    Args:
        offsets: the offsets (x, y) in low-resolution pixels of each of scale^2 children, or of all alike (spread 1).
        scale: output pixels per low-resolution pixel.

    Returns:
        The positions (x, y) in low-resolution pixels; in memory all x before all y.
    """
    b, h, w, spread, _, groups, count = offsets.shape
    rows = offsets.flatten(5).unflatten(3, (scale, scale) if spread > 1 else (1, 1))
    base = parents(h, w, scale, offsets)
    # [B, H, W, s, s, 2, G P] -> [2, B, H, s, W, s, G P]
    moved = rows.expand(-1, -1, -1, scale, scale, -1, -1).permute(5, 0, 1, 3, 2, 4, 6).contiguous().to(base.dtype)
    moved = moved.view(2, b, scale * h, scale * w, groups * count)
    moved += base[:, None, ..., None]
    return moved.unflatten(4, (groups, count)).permute(1, 4, 5, 2, 3, 0)
