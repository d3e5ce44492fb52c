"""Interpolation of features and of auxiliary maps."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from upbench.ops.registration import coordinate_dtype, exporting, numel, register

TAPS = {"nearest": 0, "bilinear": 4, "bicubic": 16}


def output_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Size of the output for an input of height x width: floor(height * scale), floor(width * scale)."""
    if isinstance(scale, int) or scale == int(scale):
        # An integer product keeps symbolic sizes symbolic under torch.export.
        return height * int(scale), width * int(scale)
    return math.floor(height * scale), math.floor(width * scale)


@register(
    "interpolate(Tensor x, SymInt out_height, SymInt out_width, str mode) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: TAPS[args[-1]] * numel(shapes[-1]),
)
def _interpolate(x: Tensor, out_height: int, out_width: int, mode: str) -> Tensor:
    align = None if mode == "nearest" else False
    return F.interpolate(x, size=(out_height, out_width), mode=mode, align_corners=align)


@register(
    "resize_map(Tensor x, SymInt out_height, SymInt out_width, bool align_corners) -> Tensor",
    kind="elementwise",
    macs=lambda shapes, args: 4 * numel(shapes[-1]),
)
def _resize_map(x: Tensor, out_height: int, out_width: int, align_corners: bool) -> Tensor:
    return F.interpolate(x, size=(out_height, out_width), mode="bilinear", align_corners=align_corners)


def interpolate(x: Tensor, out_height: int, out_width: int, mode: str) -> Tensor:
    """Resize a feature map. x: [B, C, H, W] -> [B, C, out_height, out_width].

    mode: nearest (floor of the source index), bilinear or bicubic (align_corners=False, edges replicated).
    MACs: 0, 4 or 16 per output value, class gather.
    """
    return _interpolate(x, out_height, out_width, mode)


def pool_map(x: Tensor, size: int) -> Tensor:
    """Mean over each cell of a size x size grid laid over the map, as adaptive average pooling takes it.

    x: [B, C, H, W] -> [B, C, size, size]. MACs: one per value of x, class elementwise.
    """
    if exporting() and torch.onnx.is_in_onnx_export() and not torch.compiler.is_exporting():
        # ONNX has no such operator, and torch's exporter by tracing knows it for sizes that the grid divides only.
        rows, columns = (_cell_means(n, size, x) for n in x.shape[2:])
        return rows @ x @ columns.t()
    return F.adaptive_avg_pool2d(x, size)


def _cell_means(length: int, cells: int, like: Tensor) -> Tensor:
    """The matrix [cells, length] that takes the mean over each cell: from floor(n length / cells), to the next up."""
    dtype = coordinate_dtype(like.dtype)
    cell = torch.arange(cells, device=like.device, dtype=dtype).unsqueeze(1)
    pixel = torch.arange(length, device=like.device, dtype=dtype)
    inside = (pixel >= (cell * length / cells).floor()) & (pixel < ((cell + 1) * length / cells).ceil())
    weight = inside.to(dtype)
    return (weight / weight.sum(1, keepdim=True)).to(like.dtype)


def resize_map(x: Tensor, out_height: int, out_width: int, align_corners: bool = False) -> Tensor:
    """Resize an auxiliary map, such as a query, bilinearly. x: [B, C, H, W] -> [B, C, out_height, out_width].

    MACs: 4 per output value, class elementwise: it is not the feature that is being resampled.
    """
    return _resize_map(x, out_height, out_width, align_corners)
