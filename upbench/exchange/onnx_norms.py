"""Norms in ONNX files: sums of so many values that runtimes lose digits are taken row by row.

onnxruntime 1.32 and OpenVINO 2026.4.1 sum the values of a group one after the other in float32: of 128 channels of
240x240 in 8 groups they return a norm that is 2e-4 and 1e-4 of the largest value off, where torch is 7e-8 off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

FLOAT = 1
"""ONNX's number for float32."""


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return the forms of norms for `torch.onnx.export(custom_translation_table=...)`, by torch's operator."""
    return {torch.ops.aten.group_norm.default: group_norm}


def group_norm(
    x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, cudnn_enabled: bool = True
) -> Any:
    """Write a group norm: means over a row, and means of these.

    Args:
        x: The map [N, C, ...], while a graph is written.
        num_groups: Groups of channels.
        weight: Factor of each channel; None for none.
        bias: Summand of each channel; None for none.
        eps: Added to the variance.
        cudnn_enabled: Not used; torch has it.

    Returns:
        The norm, of the size and dtype of x.
    """
    op = _opset()
    rank = len(x.shape)
    # Half precision has no digits for a mean of squares.
    wide = op.Cast(x, to=FLOAT)
    row = op.Shape(x, start=rank - 1) if rank > 2 else _whole([1])
    rows = op.Reshape(wide, op.Concat(_whole([0, num_groups, -1]), row, axis=0))
    centred = op.Sub(rows, _mean(rows, num_groups))
    variance = _mean(op.Mul(centred, centred), num_groups)
    scale = op.Reciprocal(op.Sqrt(op.Add(variance, op.Constant(value_float=eps))))
    ones = [1] * (rank - 2)
    if weight is not None:
        factors = op.Reshape(op.Cast(weight, to=FLOAT), _whole([1, num_groups, -1, 1]))
        scale = op.Reshape(op.Mul(scale, factors), op.Concat(_whole([0]), op.Shape(weight), _whole(ones), axis=0))
        out = op.Mul(op.Reshape(centred, op.Shape(x)), scale)
    else:
        out = op.Reshape(op.Mul(centred, scale), op.Shape(x))
    if bias is not None:
        out = op.Add(out, op.Reshape(op.Cast(bias, to=FLOAT), _whole([-1, *ones])))
    return op.CastLike(out, x)


def _mean(rows: Any, groups: int) -> Any:
    """The mean over the last two dimensions of [N, G, K, W]: [N, G, 1, 1].

    The means of rows are reshaped in between: OpenVINO makes one sum of two that follow each other.
    """
    op = _opset()
    each = op.ReduceMean(rows, _whole([3]), keepdims=0)
    listed = op.Reshape(each, op.Concat(_whole([-1]), op.Shape(each, start=2), axis=0))
    return op.Reshape(op.ReduceMean(listed, _whole([1]), keepdims=0), _whole([-1, groups, 1, 1]))


def _whole(values: Sequence[int]) -> Any:
    return _opset().Constant(value_ints=list(values))


def _opset() -> Any:
    """The operators that a graph is written with: those of the least opset, which later ones have too."""
    from onnxscript import opset18

    return opset18
