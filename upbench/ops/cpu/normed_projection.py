"""A group norm and the pointwise convolution after it as one op on planes, by the C kernels (`csrc/projections.h`).

The norm is never held: its factors and shifts, known from the moments of every plane, become part of the convolution. For a gradient
nothing is kept but what the op was given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from upbench.ops import thresholds
from upbench.ops.cpu import map_kernels, structs
from upbench.ops.cpu.differences import Norm
from upbench.ops.cpu.map_kernels import PARCEL
from upbench.ops.cpu.products import widens
from upbench.ops.double_gradient import recorded_slopes
from upbench.ops.registration import LIBRARY, coordinate_dtype, declare, numel

OUTPUTS = 4
"""Outputs that are summed at once."""
PIECE = 4
"""Tiles that a thread takes at a time."""
VALUES = 2**18
"""Values of half precision that are converted at once: they stay in the cache."""

Moments = structs.struct(
    "Moments",
    **dict.fromkeys(("x", "out"), structs.ADDRESS),
    **dict.fromkeys(("pixels", "paired", "dtype"), structs.COUNT),
)
Planes = structs.struct(
    "Planes",
    **dict.fromkeys(("x", "weights", "out"), structs.ADDRESS),
    **dict.fromkeys(("pixels", "channels", "outputs", "paired", "dtype"), structs.COUNT),
)

_ARGUMENTS = "Tensor x, Tensor gamma, Tensor beta, Tensor weight, Tensor? bias, int groups, float eps"
for _signature in (
    f"normed_project_fused({_ARGUMENTS}) -> Tensor",
    f"normed_project_slope_fused(Tensor grad, {_ARGUMENTS}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
):
    LIBRARY.define(_signature, tags=(torch.Tag.pt2_compliant_tag,))
normed_project_fused: Any = torch.ops.upbench.normed_project_fused.default
normed_project_slope_fused: Any = torch.ops.upbench.normed_project_slope_fused.default


def can_run(x: Tensor, *parameters: Tensor | None) -> bool:
    """Return whether the kernels take a map, not empty, of the dtype of the parameters: float32, float64, or what `widens`.

    Args:
        x: the map.
        parameters: of the norm and the convolution.
    """
    given = [t for t in (x, *parameters) if t is not None]
    if widens(x) and all(t.dtype == x.dtype for t in given):
        given = [x.new_empty(0, dtype=torch.float32)]
    return x.numel() > 0 and map_kernels.can_run_native(*given)


def _charge(shapes: Sequence[Sequence[int]], args: Sequence[Any]) -> dict[str, int]:
    return {"aten::group_norm": 5 * numel(shapes[0]), "aten::linear": numel(shapes[-1]) * shapes[0][1]}


declare("normed_project_fused", "conv", _charge)


def normed_project(
    x: Float[Tensor, "B I H W"],
    gamma: Float[Tensor, " I"],
    beta: Float[Tensor, " I"],
    weight: Float[Tensor, "O I 1 1"],
    bias: Float[Tensor, " O"] | None,
    groups: int,
    eps: float,
) -> Float[Tensor, "B O H W"]:
    """Apply a group norm, then a 1x1 convolution, in at least float32.

    Args:
        x: the map.
        gamma: factors of the norm.
        beta: its shifts.
        weight: of the convolution.
        bias: of the convolution, or None.
        groups: of the norm.
        eps: of the norm.

    Returns:
        Planes: a contiguous map of at least float32.
    """
    x = x.contiguous()
    (b, channels, h, w), outputs = x.shape, len(weight)
    out = x.new_empty((b, outputs, h, w), dtype=coordinate_dtype(x.dtype))
    numbers = out.new_zeros((channels + 1, math.ceil(outputs / OUTPUTS) * OUTPUTS))
    paired = map_kernels.by_pairs(x) and channels % 2 == 0
    matrix = weight.flatten(1).double()
    for image in range(b):
        planes, into = x[image].flatten(1), out[image].flatten(1)
        norm = _norm(planes, gamma, beta, groups, eps, paired)
        folded = matrix * norm.scale
        if paired:
            folded = folded.bfloat16().double()
        numbers[:channels, :outputs] = folded.t()
        numbers[channels, :outputs] = matrix @ beta.double() - folded @ norm.mean
        if bias is not None:
            numbers[channels, :outputs] += bias
        _project(planes, numbers, into, paired)
    return out


def _norm(planes: Float[Tensor, "C N"], gamma: Tensor, beta: Tensor, groups: int, eps: float, paired: bool) -> Norm:
    """The group norm of one image, in float64."""
    moments = torch.empty((len(planes), 2), dtype=torch.float64)
    _measure(planes, moments, paired)
    mean, variance = (t.reshape(groups, -1) for t in moments.unbind(1))
    centre = mean.mean(1, keepdim=True)
    spread = (variance + (mean - centre).square()).mean(1)
    return Norm.of(centre.flatten(), (spread + eps).rsqrt(), gamma.double(), beta.double())


def _measure(planes: Float[Tensor, "C N"], moments: Float[Tensor, "C 2"], paired: bool) -> None:
    """Write mean and variance of every plane; of half precision some planes at a time, in float32, if not in pairs."""
    whole = paired or planes.dtype == coordinate_dtype(planes.dtype)
    most = len(planes) if whole else max(thresholds.scaled(VALUES) // planes.shape[1], 1)
    wide = None if whole else planes.new_empty((most, planes.shape[1]), dtype=torch.float32)
    for first in range(0, len(planes), most):
        some = planes[first : first + most]
        if wide is not None:
            some = wide[: len(some)].copy_(some)
        job = Moments(x=some.data_ptr(), out=moments[first:].data_ptr(), pixels=some.shape[1])
        job.paired, job.dtype = paired, map_kernels.DTYPES.index(coordinate_dtype(some.dtype))
        map_kernels.run("moments", job, len(some), PIECE if whole else 1, 2 * some.numel())


def _project(
    planes: Float[Tensor, "C N"], numbers: Float[Tensor, "D _"], out: Float[Tensor, "O N"], paired: bool
) -> None:
    """Write the product of planes and a matrix, whose last row is a bias; of half precision some pixels at a time, or in pairs."""
    channels, pixels = planes.shape
    job = Planes(channels=channels, outputs=len(out), dtype=map_kernels.DTYPES.index(out.dtype))
    if paired:
        rows = numbers[:channels].unflatten(0, (-1, 2)).transpose(1, 2).bfloat16().flatten(1).contiguous()
        numbers, job.paired = torch.cat((rows.view(numbers.dtype), numbers[channels:])), 1
    job.weights = numbers.data_ptr()
    if paired or planes.dtype == out.dtype:
        job.pixels, job.x, job.out = pixels, planes.data_ptr(), out.data_ptr()
        map_kernels.run("planes", job, math.ceil(pixels / PARCEL), PIECE, planes.numel() * len(out))
        return
    most = PARCEL * max(thresholds.scaled(VALUES) // (PARCEL * channels), torch.get_num_threads())
    for first in range(0, pixels, most):
        wide = planes[:, first : first + most].to(out.dtype, memory_format=torch.contiguous_format)
        made = out.new_empty((len(out), wide.shape[1]))
        job.pixels, job.x, job.out = wide.shape[1], wide.data_ptr(), made.data_ptr()
        map_kernels.run("planes", job, math.ceil(wide.shape[1] / PARCEL), 1, wide.numel() * len(out))
        out[:, first : first + most] = made


@torch.library.register_fake("upbench::normed_project_fused", lib=LIBRARY)
def _(x: Tensor, gamma: Tensor, beta: Tensor, weight: Tensor, bias: Tensor | None, groups: int, eps: float) -> Tensor:
    return x.new_empty((x.shape[0], weight.shape[0], *x.shape[2:]), dtype=coordinate_dtype(x.dtype))


def slopes(
    grad: Float[Tensor, "B O H W"],
    x: Float[Tensor, "B I H W"],
    gamma: Float[Tensor, " I"],
    beta: Float[Tensor, " I"],
    weight: Float[Tensor, "O I 1 1"],
    bias: Float[Tensor, " O"] | None,
    groups: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Compute the gradients of `normed_project`, whose arguments follow `grad`, of float32 or float64.

    Returns:
        Those of x, gamma, beta, weight and bias.
    """
    x, grad = x.contiguous(), grad.contiguous()
    dx, matrix = torch.empty_like(x), weight.flatten(1).double()
    sums = [torch.zeros(n, dtype=torch.float64) for n in (gamma.shape, beta.shape, matrix.shape, (len(matrix),))]
    for planes, given, out in zip(x.flatten(2), grad.flatten(2), dx.flatten(2), strict=True):
        norm = _norm(planes, gamma, beta, groups, eps, False)
        products, total = (given @ planes.t()).double(), given.sum(1, dtype=torch.float64)
        parts = ((matrix * products).sum(0), total @ matrix)
        dgamma, dbeta, add, factor = norm.slopes(*parts, groups, planes.numel() // groups)
        dweight = products * norm.scale + torch.outer(total, norm.shift)
        for whole, part in zip(sums, (dgamma, dbeta, dweight, total), strict=True):
            whole += part
        back, add, factor = (t.to(x.dtype) for t in ((matrix * norm.scale).t(), add.unsqueeze(1), factor.unsqueeze(1)))
        torch.addmm(add, back, given, out=out).addcmul_(planes, factor)
    small = [t.to(x.dtype) for t in sums]
    return dx, small[0], small[1], small[2].view_as(weight), small[3]


@torch.library.register_fake("upbench::normed_project_slope_fused", lib=LIBRARY)
def _(grad: Tensor, x: Tensor, gamma: Tensor, beta: Tensor, weight: Tensor, *others: Any) -> tuple[Tensor, ...]:
    return *(t.new_empty(t.shape) for t in (x, gamma, beta, weight)), weight.new_empty(len(weight))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:5])
    ctx.numbers = inputs[5:]


def _backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    x, gamma, beta, weight, bias = saved = ctx.saved_tensors
    groups, eps = ctx.numbers
    given = [t for t in saved if t is not None]
    if torch.is_grad_enabled() and any(t.requires_grad for t in (grad, *given)):
        # What is differentiated twice holds the normed map.
        def layers(x: Tensor, gamma: Tensor, beta: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
            return F.conv2d(F.group_norm(x, groups, gamma, beta, eps), weight, bias)

        found = recorded_slopes(layers, given, grad)
    else:
        found = normed_project_slope_fused(grad, x, gamma, beta, weight, bias, groups, eps)
    return *found[:4], None if bias is None else found[4], None, None


torch.library.register_autograd("upbench::normed_project_fused", _backward, setup_context=_keep, lib=LIBRARY)
LIBRARY.impl("normed_project_fused", normed_project, "CPU")
LIBRARY.impl("normed_project_slope_fused", slopes, "CPU")
