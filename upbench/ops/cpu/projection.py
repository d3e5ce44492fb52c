"""The pointwise convolution of the C kernels of windows (`csrc/project.h`), from planes or rows to rows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from upbench.ops.cpu import native, window_kernels
from upbench.ops.memory_layout import empty_map
from upbench.ops.registration import coordinate_dtype


def project(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute `reassembly.project_fused`, with its arguments."""
    (b, c, h, w), outputs = x.shape, weight.shape[0]
    dtype = coordinate_dtype(x.dtype)
    padded = -(-outputs // native.LANES) * native.LANES
    numbers = torch.zeros((padded, c + 1), dtype=dtype)
    numbers[:outputs, :c] = weight.flatten(1)
    if bias is not None:
        numbers[:outputs, c] = bias
    lanes = numbers[:, :c].unflatten(0, (-1, native.LANES)).transpose(1, 2)
    numbers = torch.cat((lanes.flatten(), numbers[:, c]))
    out = empty_map(x, b, outputs, h, w)
    planes = x.is_contiguous() and c > 1
    rows = x if planes else window_kernels.even_rows(x)
    job = window_kernels.Project(
        weights=numbers.data_ptr(),
        pixels=h * w,
        channels=c,
        outputs=outputs,
        x_step=x.stride(1) if planes else 1,
        x_pitch=1 if planes else window_kernels.pitch(rows),
        out_pitch=outputs,
        dtype=window_kernels.DTYPES.index(x.dtype),
    )
    job.tile = window_kernels.pixels_at_once(c) if planes else window_kernels.PIXELS
    # A plane of one pixel has the step of rows.
    if planes and job.x_step == 1:
        job.x_pitch = c
    window_kernels.run(
        "project",
        job,
        {"x": rows, "out": out.permute(0, 2, 3, 1)},
        b,
        math.ceil(h * w / job.tile),
        h * w * weight.numel(),
        8 * window_kernels.PIXELS // job.tile,
    )
    return out
