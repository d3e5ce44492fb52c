"""The functions of torch that upsample: how they are recognised, and the size of what they would return."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

UPSAMPLING: dict[Any, str] = {
    F.interpolate: "interpolate",
    torch.pixel_shuffle: "pixel_shuffle",
    F.pixel_shuffle: "pixel_shuffle",
    torch.conv_transpose2d: "conv_transpose2d",
    F.conv_transpose2d: "conv_transpose2d",
    F.max_unpool2d: "max_unpool2d",
}
"""Function, as a mode of torch functions sees it -> name of the op."""
NAMED: dict[Any, str] = {**UPSAMPLING, F.upsample: "interpolate"}
"""Function, as code names it -> name of the op."""
POOLING: set[Any] = {F.adaptive_avg_pool2d, F.adaptive_max_pool2d}
"""Functions that pool a map to a fixed size."""


def op_of(func: Callable[..., Any]) -> str | None:
    """Return the name of the upsampling op that a function is; None for any other."""
    try:
        return UPSAMPLING.get(func)
    except TypeError:  # not hashable
        return None


def map_of(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return the tensor that an upsampling call is given."""
    return args[0] if args else kwargs.get("input", kwargs.get("self"))


def interpolation(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[str, bool | None]:
    """Return mode and align_corners of a call of F.interpolate."""
    mode = args[3] if len(args) > 3 else kwargs.get("mode", "nearest")
    corners = args[4] if len(args) > 4 else kwargs.get("align_corners")
    return mode, corners if corners is None else bool(corners)


def target_size(op: str, x: Tensor, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return height and width of what an upsampling call would return, without running it.

    Args:
        op: Name of the op.
        x: The map [B, C, H, W].
        args: Positional arguments of the call.
        kwargs: Its keyword arguments.
    """
    height, width = x.shape[-2:]
    if op == "interpolate":
        size = args[1] if len(args) > 1 else kwargs.get("size")
        if size is not None:
            return (size[0], size[1]) if isinstance(size, Sequence | torch.Size) else (size, size)
        factor: Any = args[2] if len(args) > 2 else kwargs.get("scale_factor")
        rows, columns = factor if isinstance(factor, Sequence) else (factor, factor)
        return _times(height, rows), _times(width, columns)
    if op == "pixel_shuffle":
        factor = args[1] if len(args) > 1 else kwargs["upscale_factor"]
        return height * factor, width * factor
    if op == "conv_transpose2d":
        weight = args[1] if len(args) > 1 else kwargs["weight"]
        stride, padding, output_padding, _, dilation = (
            _pair(args[n] if len(args) > n else kwargs.get(name, default))
            for n, name, default in (
                (3, "stride", 1),
                (4, "padding", 0),
                (5, "output_padding", 0),
                (6, "groups", 1),
                (7, "dilation", 1),
            )
        )
        rows, columns = (
            (n - 1) * stride[k] - 2 * padding[k] + dilation[k] * (weight.shape[2 + k] - 1) + output_padding[k] + 1
            for k, n in enumerate((height, width))
        )
        return rows, columns
    size = args[5] if len(args) > 5 else kwargs.get("output_size")
    if size is not None:
        return size[-2], size[-1]
    kernel = _pair(args[2] if len(args) > 2 else kwargs["kernel_size"])
    stride = _pair((args[3] if len(args) > 3 else kwargs.get("stride")) or kernel)
    padding = _pair(args[4] if len(args) > 4 else kwargs.get("padding", 0))
    rows, columns = ((n - 1) * stride[k] - 2 * padding[k] + kernel[k] for k, n in enumerate((height, width)))
    return rows, columns


def _times(n: Any, factor: float) -> Any:
    return n * int(factor) if float(factor).is_integer() else math.floor(float(n) * factor)


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    return (value[0], value[-1])
