"""A group norm and the pointwise convolution after it as one op on planes, by the C kernels (`csrc/projections.h`).

The norm is never held: its factors and shifts, known from the moments of every plane, become part of the convolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from upbench.ops.cpu import map_kernels, native
from upbench.ops.registration import LIBRARY, OPS, Op, numel

PARCEL, OUTPUTS = 512, 4
"""Pixels of a tile, and outputs that are summed at once."""
PIECE = 4
"""Tiles that a thread takes at a time."""

Moments = native.struct(
    "Moments",
    **dict.fromkeys(("x", "out"), native.ADDRESS),
    **dict.fromkeys(("pixels", "dtype"), native.COUNT),
)
Planes = native.struct(
    "Planes",
    **dict.fromkeys(("x", "weights", "out"), native.ADDRESS),
    **dict.fromkeys(("pixels", "channels", "outputs", "dtype"), native.COUNT),
)

LIBRARY.define(
    "normed_project_fused(Tensor x, Tensor gamma, Tensor beta, Tensor weight, Tensor? bias, int groups, float eps) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
normed_project_fused: Any = torch.ops.upbench.normed_project_fused.default


def can_run(x: Tensor, *parameters: Tensor | None) -> bool:
    """Return whether the kernels take a map: of float32 or float64, like the parameters, and not empty.

    Args:
        x: the map.
        parameters: of the norm and the convolution.
    """
    return x.numel() > 0 and map_kernels.can_run_native(x, *(t for t in parameters if t is not None))


def _charge(shapes: Sequence[Sequence[int]], args: Sequence[Any]) -> dict[str, int]:
    return {"aten::group_norm": 5 * numel(shapes[0]), "aten::linear": numel(shapes[-1]) * shapes[0][1]}


OPS["upbench::normed_project_fused"] = Op(
    "upbench::normed_project_fused", "conv", lambda shapes, args: sum(_charge(shapes, args).values()), _charge
)


def normed_project(
    x: Float[Tensor, "B I H W"],
    gamma: Float[Tensor, " I"],
    beta: Float[Tensor, " I"],
    weight: Float[Tensor, "O I 1 1"],
    bias: Float[Tensor, " O"] | None,
    groups: int,
    eps: float,
) -> Float[Tensor, "B O H W"]:
    """Apply a group norm, then a 1x1 convolution, of float32 or float64; no argument records a gradient.

    Args:
        x: the map.
        gamma: factors of the norm.
        beta: its shifts.
        weight: of the convolution.
        bias: of the convolution, or None.
        groups: of the norm.
        eps: of the norm.

    Returns:
        Planes: a contiguous map.
    """
    x = x.contiguous()
    (b, channels, h, w), outputs = x.shape, len(weight)
    out = x.new_empty((b, outputs, h, w))
    numbers = x.new_zeros((channels + 1, math.ceil(outputs / OUTPUTS) * OUTPUTS))
    matrix, dtype = weight.flatten(1).double(), map_kernels.DTYPES.index(x.dtype)
    moments = torch.empty((channels, 2), dtype=torch.float64)
    job = Planes(pixels=h * w, channels=channels, outputs=outputs, dtype=dtype, weights=numbers.data_ptr())
    for image in range(b):
        job.x, job.out = native.address(x, image), native.address(out, image)
        of_planes = Moments(x=job.x, out=moments.data_ptr(), pixels=h * w, dtype=dtype)
        map_kernels.run("moments", of_planes, channels, PIECE)
        mean, variance = (t.reshape(groups, -1) for t in moments.unbind(1))
        centre = mean.mean(1, keepdim=True)
        spread = (variance + (mean - centre).square()).mean(1, keepdim=True)
        rate, centre = ((spread + eps).rsqrt().expand_as(mean).flatten(), centre.expand_as(mean).flatten())
        scale = gamma.double() * rate
        numbers[:channels, :outputs] = (matrix * scale).t()
        numbers[channels, :outputs] = matrix @ (beta.double() - centre * scale)
        if bias is not None:
            numbers[channels, :outputs] += bias
        map_kernels.run("planes", job, math.ceil(h * w / PARCEL), PIECE)
    return out


@torch.library.register_fake("upbench::normed_project_fused", lib=LIBRARY)
def _(x: Tensor, gamma: Tensor, beta: Tensor, weight: Tensor, bias: Tensor | None, groups: int, eps: float) -> Tensor:
    return x.new_empty((x.shape[0], weight.shape[0], *x.shape[2:]))


LIBRARY.impl("normed_project_fused", normed_project, "CPU")
