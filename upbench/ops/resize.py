"""Interpolation of features and of auxiliary maps."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from upbench.ops.registration import coordinate_dtype, exporting, numel, register

TAPS = {"nearest": 0, "bilinear": 4, "bicubic": 16}
"""MACs of one output value in each mode."""


def output_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Work out the size of the output.

    Args:
        height: rows of the input.
        width: columns of the input.
        scale: output pixels per input pixel along each axis.

    Returns:
        floor(height * scale), floor(width * scale).
    """
    if isinstance(scale, int) or scale == int(scale):
        # An integer product keeps symbolic sizes symbolic under torch.export.
        return height * int(scale), width * int(scale)
    return math.floor(height * scale), math.floor(width * scale)


@register(
    "interpolate(Tensor x, SymInt out_height, SymInt out_width, str mode) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: TAPS[args[-1]] * numel(shapes[-1]),
)
def _interpolate(
    x: Float[Tensor, "B C H W"], out_height: int, out_width: int, mode: str
) -> Float[Tensor, "B C {out_height} {out_width}"]:
    align = None if mode == "nearest" else False
    return F.interpolate(x, size=(out_height, out_width), mode=mode, align_corners=align)


@register(
    "resize_map(Tensor x, SymInt out_height, SymInt out_width, bool align_corners) -> Tensor",
    kind="elementwise",
    macs=lambda shapes, args: 4 * numel(shapes[-1]),
)
def _resize_map(
    x: Float[Tensor, "B C H W"], out_height: int, out_width: int, align_corners: bool
) -> Float[Tensor, "B C {out_height} {out_width}"]:
    return F.interpolate(x, size=(out_height, out_width), mode="bilinear", align_corners=align_corners)


def _is_doubled(x: Tensor, out_height: int, out_width: int) -> bool:
    """Whether planes become twice as large on a CPU and record a gradient, of which torch makes one value after another."""
    plain = type(x) is Tensor and x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)
    if not plain or not (x.requires_grad and torch.is_grad_enabled()) or torch.jit.is_tracing():  # type: ignore[attr-defined]
        return False
    return x.is_contiguous() and (out_height, out_width) == (2 * x.shape[2], 2 * x.shape[3])


class _Doubled(torch.autograd.Function):
    """A bilinear resize to twice the size, whose gradient is a convolution with 4x4 taps at stride 2, four times as fast."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return _resize_map(x, 2 * x.shape[2], 2 * x.shape[3], False)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        taps = grad.new_tensor((0.25, 0.75, 0.75, 0.25))
        weight = torch.outer(taps, taps).expand(grad.shape[1], 1, 4, 4)
        # What lies beyond an edge is read where the edge is.
        padded = F.pad(grad, (1, 1, 1, 1), mode="replicate")
        return F.conv2d(padded, weight, stride=2, groups=grad.shape[1])


def interpolate(
    x: Float[Tensor, "B C H W"], out_height: int, out_width: int, mode: str
) -> Float[Tensor, "B C {out_height} {out_width}"]:
    """Resize a feature map.

    Args:
        x: the map.
        out_height: rows of the output.
        out_width: columns of the output.
        mode: nearest (floor of the source index), bilinear or bicubic (align_corners=False, edges replicated).

    Returns:
        The resized map.

    MACs: 0, 4 or 16 per output value, class gather.
    """
    return _interpolate(x, out_height, out_width, mode)


def pool_map(x: Float[Tensor, "B C H W"], size: int) -> Float[Tensor, "B C {size} {size}"]:
    """Take the mean over each cell of a size x size grid laid over the map, as adaptive average pooling does.

    Args:
        x: the map.
        size: cells along each axis.

    Returns:
        The means.

    MACs: one per value of x, class elementwise.
    """
    by_trace = torch.onnx.is_in_onnx_export() and not torch.compiler.is_exporting()
    if exporting() and (by_trace or isinstance(x.shape[2], torch.SymInt)):
        # ONNX has no such operator: torch's exporter by tracing knows it for sizes that the grid divides only, the other
        # one writes what is right at the traced size alone.
        rows, columns = (_cell_means(n, size, x) for n in x.shape[2:])
        return rows @ x @ columns.t()
    return F.adaptive_avg_pool2d(x, size)


def _cell_means(length: int, cells: int, like: Tensor) -> Float[Tensor, "{cells} {length}"]:
    """The matrix that takes the mean over each cell: from floor(n length / cells), to the next up.

    Its edges are compared as products, which are whole: a runtime that multiplies by 1 / cells where a division is written,
    as OpenVINO 2026.4.1 does, rounds 18 * (1 / 6) to more than 3, and takes a pixel too many.
    """
    dtype = coordinate_dtype(like.dtype)
    cell = torch.arange(cells, device=like.device, dtype=dtype).unsqueeze(1)
    pixel = torch.arange(length, device=like.device, dtype=dtype)
    inside = ((pixel + 1) * cells > cell * length) & (pixel * cells < (cell + 1) * length)
    weight = inside.to(dtype)
    return (weight / weight.sum(1, keepdim=True)).to(like.dtype)


def resize_map(
    x: Float[Tensor, "B C H W"],
    out_height: int,
    out_width: int,
    align_corners: bool = False,
    *,
    backend: str = "eager",
) -> Float[Tensor, "B C {out_height} {out_width}"]:
    """Resize an auxiliary map, such as a query, bilinearly.

    Args:
        x: the map.
        out_height: rows of the output.
        out_width: columns of the output.
        align_corners: whether the corner pixels of input and output fall on each other, rather than the corners of the
            maps.
        backend: eager (torch's own gradient), or another, with which that of a map of planes that becomes twice as large is a
            convolution.

    Returns:
        The resized map.

    MACs: 4 per output value, class elementwise: it is not the feature that is being resampled.
    """
    if backend != "eager" and not align_corners and _is_doubled(x, out_height, out_width):
        return _Doubled.apply(x)
    return _resize_map(x, out_height, out_width, align_corners)
