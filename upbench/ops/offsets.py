"""Points moved by predicted offsets: around each output pixel (LDA-AQU), or away from its parent (SAPA-D)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upbench.ops.points import lattice, parents
from upbench.ops.resize import interpolate, output_size


def points_around(
    predictor: nn.Module, query: Tensor, theta: float, in_input_pixels: bool, height: int, width: int
) -> Tensor:
    """Low-resolution positions read by each output pixel: [B, G, k_u^2, H', W', 2], x first.

    position = (output pixel + tap + theta * tanh(predictor(query))) * (size - 1) / (size' - 1), or where the taps and
    theta are measured in_input_pixels, output pixel * (size - 1) / (size' - 1) + tap + theta * tanh(.).
    query: [B, G d, H', W']; predictor: [B G, d, H', W'] -> [B G, k_u^2 (y, x), H', W'], begins with a convolution of d
    channels; height, width: size of the low-resolution map. Source: LDA-AQU, eq. 8-10.
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


def _to_low(points: Tensor, height: int, width: int, out_h: int, out_w: int) -> Tensor:
    """Output pixels as low-resolution pixels, corner on corner. points: [..., 2, H', W'], x first.

    Multiplied before it is divided, so that the last pixel falls on the last exactly.
    """
    x, y = points.unbind(-3)
    return torch.stack((x * (width - 1) / max(out_w - 1, 1), y * (height - 1) / max(out_h - 1, 1)), dim=-3)


def child_points(offset: Tensor, groups: int, scale: int, each: bool) -> Tensor:
    """The parent of each output pixel, moved: [B, G, P, sH, sW, 2], in low-resolution pixels, x first.

    offset: [B, G P 2, H, W], or with `each` [B, G P 2 s^2, H, W] of every sub-pixel (pixel shuffle). Source: SAPA-D.
    """
    b, channels, h, w = offset.shape
    height, width = output_size(h, w, scale)
    moved = F.pixel_shuffle(offset, scale) if each else interpolate(offset, height, width, "nearest")
    base = parents(h, w, scale, offset)
    points = channels // (2 * groups * (scale * scale if each else 1))
    moved = moved.view(b, groups, points, 2, height, width)
    return (moved.to(base.dtype) + base).permute(0, 1, 2, 4, 5, 3)


def predict_points(
    query: Tensor,
    first: Tensor,
    gamma: Tensor,
    beta: Tensor,
    last: Tensor,
    bias: Tensor,
    eps: float,
    theta: float,
    in_input_pixels: bool,
    height: int,
    width: int,
) -> Tensor:
    """Low-resolution positions [B, groups, k_u^2, H', W', 2] read by each output pixel; in memory all x before all y.

    query: [B, groups d, H', W'], best channels-last; first: depthwise [d, 1, 3, 3]; gamma, beta: [d], of the layer
    norm before the GELU; last: [2 k_u^2, d, k_e, k_e] with its bias; height, width: size of the low-resolution map.
    in_input_pixels: the taps and theta are measured in low-resolution pixels, not in output pixels.
    """
    b, channels, out_h, out_w = query.shape
    first, gamma, beta, last, bias = (t.to(query.dtype) for t in (first, gamma, beta, last, bias))
    groups, taps, kernel = channels // first.shape[0], last.shape[0] // 2, last.shape[-1]
    # The groups share their weights, and stay beside each other in memory.
    local = F.conv2d(query, first.repeat(groups, 1, 1, 1), padding=1, groups=channels).permute(0, 2, 3, 1)
    local = F.layer_norm(local.unflatten(-1, (groups, channels // groups)), gamma.shape, gamma, beta, eps)
    local = F.gelu(local).flatten(3).permute(0, 3, 1, 2)
    # Released channels are (tap, (y, x)): taken as (x, y) of all taps here.
    last, bias = (t.unflatten(0, (taps, 2)).flip(1).transpose(0, 1).flatten(0, 1) for t in (last, bias))
    raw = F.conv2d(local, last.repeat(groups, 1, 1, 1), bias.repeat(groups), padding=kernel // 2, groups=groups)
    # [B, G (2, taps), H', W'] -> [2, B, H', W', G, taps]
    raw = raw.view(b, groups, 2, taps, out_h, out_w).permute(2, 0, 4, 5, 1, 3).contiguous().tanh()
    pixels = lattice(out_h, out_w, query)[:, None, :, :, None, None]
    side = math.isqrt(taps)
    steps = (lattice(side, side, query) - side // 2).view(2, 1, 1, 1, 1, taps)
    points = theta * raw
    points += steps
    low, out = (width - 1, height - 1), (max(out_w - 1, 1), max(out_h - 1, 1))
    if not in_input_pixels:
        points += pixels
    for axis in range(2):
        # Multiplied before it is divided, so that the last pixel falls on the last exactly.
        if in_input_pixels:
            points[axis].add_(pixels[axis] * low[axis] / out[axis])
        else:
            points[axis].mul_(low[axis]).div_(out[axis])
    return points.permute(1, 4, 5, 2, 3, 0)


def offset_points(offsets: Tensor, scale: int) -> Tensor:
    """The parent of each output pixel, moved: [B, G, P, sH, sW, 2]; in memory all x before all y.

    offsets: [B, H, W, s^2 or 1, (x, y), G, P], of each child of a low-resolution pixel, or of all alike.
    """
    b, h, w, spread, _, groups, count = offsets.shape
    rows = offsets.flatten(5).unflatten(3, (scale, scale) if spread > 1 else (1, 1))
    base = parents(h, w, scale, offsets)
    # [B, H, W, s, s, 2, G P] -> [2, B, H, s, W, s, G P]
    moved = rows.expand(-1, -1, -1, scale, scale, -1, -1).permute(5, 0, 1, 3, 2, 4, 6).contiguous().to(base.dtype)
    moved = moved.view(2, b, scale * h, scale * w, groups * count)
    moved += base[:, None, ..., None]
    return moved.unflatten(4, (groups, count)).permute(1, 4, 5, 2, 3, 0)
