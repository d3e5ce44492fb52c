"""Paired differences on the CPU: from key and query to scores without a map of the hidden channels but one.

The first norms are folded into the layer after them, and the last norm into the last layer: of each only means and variances
are taken from a map. For a gradient nothing is kept but what the op was given; backward computes a few rows at a time again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops.cpu import difference_kernels, map_kernels
from upbench.ops.cpu.products import pointwise
from upbench.ops.double_gradient import recorded_slopes
from upbench.ops.registration import LIBRARY, coordinate_dtype, declare, numel

_TENSORS = (
    "Tensor key, Tensor query, Tensor gamma, Tensor beta, Tensor weight, Tensor bias, Tensor inner, Tensor inner_bias,"
    " Tensor inner_gamma, Tensor inner_beta, Tensor last, Tensor last_bias"
)
_NUMBERS = "int groups, int dilation, int norm_groups, float eps, int inner_groups, float inner_eps, bool rounded, Tensor? coarse"
LIBRARY.define(
    f"paired_difference_fused({_TENSORS}, {_NUMBERS}) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
LIBRARY.define(
    f"paired_difference_slope_fused(Tensor grad, {_TENSORS}, {_NUMBERS})"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    tags=(torch.Tag.pt2_compliant_tag,),
)
paired_difference_fused: Any = torch.ops.upbench.paired_difference_fused.default
paired_difference_slope_fused: Any = torch.ops.upbench.paired_difference_slope_fused.default
TENSORS = 12
"""Tensors among the arguments of the op."""


def paired_difference(
    key: Tensor,
    query: Tensor,
    norm: Any,
    weight: Tensor,
    bias: Tensor,
    compressor: Any,
    groups: int,
    dilation: int,
    coarse: Tensor | None,
    rounded: bool,
) -> Tensor:
    """Compute `ops.paired_difference`, with its arguments."""
    sizes = None if coarse is None else [n * dilation for n in coarse.shape[2:]]
    if coarse is not None and (sizes != list(key.shape[2:]) or coarse.dtype != key.dtype):
        coarse = None
    _, inner, _, inner_norm, last = compressor
    layers = (inner.weight, inner.bias, inner_norm.weight, inner_norm.bias, last.weight, last.bias)
    numbers = (groups, dilation, norm.num_groups, norm.eps, inner_norm.num_groups, inner_norm.eps)
    coarse = None if coarse is None else coarse.detach()  # its gradient is that of the key
    return paired_difference_fused(key, query, norm.weight, norm.bias, weight, bias, *layers, *numbers, rounded, coarse)


def can_run(key: Tensor, query: Tensor, weight: Tensor, groups: int, compressor: nn.Sequential) -> bool:
    """Return whether the kernel takes paired differences.

    Args:
        key, query, weight, groups, compressor: arguments of `ops.paired_difference`.
    """
    inner: Any = compressor[1]
    wide = key.new_empty(0, dtype=coordinate_dtype(key.dtype))
    same = key.dtype == query.dtype == weight.dtype and key.shape == query.shape and key.numel() > 0
    fits = difference_kernels.can_difference(key.shape[1], len(weight), groups) and inner.groups == groups
    return same and fits and map_kernels.can_run_native(wide)


def _charge(shapes: Sequence[Sequence[int]], args: Sequence[Any]) -> dict[str, int]:
    """MACs of each plain op that it stands for, from the shapes of its tensors, in order, and of its output."""
    key, weight, inner, last = shapes[0], shapes[4], shapes[6], shapes[10]
    pixels = key[0] * numel(key[2:])
    hidden = pixels * weight[0]
    layers = numel(weight) + weight[0] * weight[1] + inner[0] * inner[1] + last[0] * last[1]
    return {
        "aten::_convolution": pixels * layers,
        "aten::group_norm": 5 * (2 * numel(key) + hidden),
        "aten::sub": hidden,
        "aten::add": hidden,
        "aten::relu": 2 * hidden,
        "aten::sum": numel(weight),
    }


declare("paired_difference_fused", "conv", _charge)


@dataclass
class Norm:
    """A group norm as factors and shifts of the channels. x: [C, ...] is meant to become scale x + shift."""

    mean: Tensor
    rate: Tensor
    gamma: Tensor
    scale: Tensor
    shift: Tensor

    @staticmethod
    def of(mean: Tensor, rate: Tensor, gamma: Tensor, beta: Tensor) -> Norm:
        """From the mean and one over the standard deviation of each group."""
        each = len(gamma) // len(mean)
        mean, rate = mean.repeat_interleave(each), rate.repeat_interleave(each)
        scale = gamma * rate
        return Norm(mean, rate, gamma, scale, beta - mean * scale)

    def slopes(self, scale: Tensor, shift: Tensor, groups: int, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Gradients of gamma and beta, and A and C of each channel, where that of x is what passes through and A + C x.

        Args:
            scale, shift: gradients of scale and shift.
            groups: groups of the norm.
            count: values of a group.
        """
        each = len(scale) // groups
        mean = -(shift * self.scale).view(groups, -1).sum(1).repeat_interleave(each)
        rate = (self.gamma * (scale - self.mean * shift)).view(groups, -1).sum(1).repeat_interleave(each)
        factor = -rate * self.rate**3 / count
        return (scale - self.mean * shift) * self.rate, shift, mean / count - factor * self.mean, factor


def _normed(x: Tensor, gamma: Tensor, beta: Tensor, groups: int, eps: float) -> Norm:
    """The group norm of one image [C, H, W]."""
    count = x[0].numel()
    _, mean, rate = torch.native_group_norm(x.unsqueeze(0), None, None, 1, len(x), count, groups, eps)
    return Norm.of(mean[0], rate[0], gamma, beta)


class Image:
    """What an image's forward and backward share: its norms, folded layers, and the rectified second layer."""

    def __init__(
        self,
        key: Tensor,
        query: Tensor,
        layers: Sequence[Tensor],
        numbers: Sequence[Any],
        coarse: Tensor | None,
        rounded: bool = False,
    ) -> None:
        gamma, beta, weight, bias, inner, inner_bias, inner_gamma, inner_beta, last, last_bias = layers
        groups, dilation, norm_groups, eps, inner_groups, inner_eps = numbers
        self.key = _normed(key, gamma, beta, norm_groups, eps)
        self.query = _normed(query, gamma, beta, norm_groups, eps)
        outputs, each = weight.shape[:2]
        self.own = torch.arange(outputs) // (outputs // groups) * each
        self.own = self.own.unsqueeze(1) + torch.arange(each)  # the channels of each output: [O, e / G]
        self.centre = weight.sum((2, 3))
        around = weight * self.key.scale[self.own][..., None, None]
        self.first = torch.cat((around.flatten(1), -self.centre * self.query.scale[self.own]), 1)
        apart = self.key.shift - self.query.shift
        self.bias, means = bias.flatten(), None
        if rounded:  # what has its mean taken off needs no shift
            means = torch.stack((self.key.mean, self.query.mean))
        else:
            self.bias = self.bias + (self.centre * apart[self.own]).sum(1)
        self.apart = apart
        self.inner = inner.flatten(1)
        self.hidden, sums = difference_kernels.differences(
            key, query, self.first, self.bias, self.inner, inner_bias, weight.shape[2], dilation, coarse, means
        )
        self.count = key[0].numel() * outputs // inner_groups
        mean, squares = (sums.view(2, inner_groups, -1).sum(2) / self.count).unbind()
        rate = ((squares - mean * mean).clamp_(min=0) + inner_eps).rsqrt()
        self.norm = Norm.of(mean.to(key.dtype), rate.to(key.dtype), inner_gamma, inner_beta)
        self.last = last.flatten(1)
        self.last_scaled, self.last_bias = self.last * self.norm.scale, last_bias + self.last @ self.norm.shift


def image_of(coarse: Tensor | None, image: int, dtype: torch.dtype) -> Tensor | None:
    """Return an image of the map that the key is a resize of, where there is one.

    Args:
        coarse: the map, or None.
        image: which.
        dtype: of what is returned.
    """
    return None if coarse is None else coarse[image].to(dtype)


def forward(key: Float[Tensor, "B e H W"], query: Float[Tensor, "B e H W"], *others: Any) -> Float[Tensor, "B T H W"]:
    """Compute `ops.paired_difference` from the parameters of its layers.

    Args:
        key: the map of keys.
        query: the map of queries.
        others: factors and shifts of the norm of both, weight and bias, weight and bias of the second layer, factors and
            shifts of its norm, weight and bias of the last layer; then groups, dilation, groups and eps of each norm; whether
            numbers may be rounded to bfloat16 for products; and the map that the key is a resize of, or None.
    """
    dtype = coordinate_dtype(key.dtype)
    layers, numbers = [t.to(dtype) for t in others[: TENSORS - 2]], others[TENSORS - 2 : -2]
    (b, c, h, w), taps = key.shape, len(layers[-1])
    out = key.new_empty((b, taps, h, w))
    allowed = dtype == torch.float32 and (others[-2] or key.dtype == torch.bfloat16)
    rounded = allowed and difference_kernels.by_pairs(c, len(layers[2]), numbers[0])
    for image in range(b):
        maps = (key[image].to(dtype).contiguous(), query[image].to(dtype).contiguous())
        made = Image(*maps, layers, numbers, image_of(others[-1], image, dtype), rounded)
        if rounded:
            out[image] = difference_kernels.scores(made.hidden, made.last_scaled, made.last_bias).unflatten(1, (h, w))
            continue
        rows = pointwise(made.hidden.view(1, h, w, -1), made.last_scaled, made.last_bias)
        out[image] = rows[0].permute(2, 0, 1)
    return out


def _eager(key: Tensor, query: Tensor, *others: Any) -> Tensor:
    """The same of torch's ops, for gradients of gradients."""
    gamma, beta, weight, bias, inner, inner_bias, inner_gamma, inner_beta, last, last_bias = others[: TENSORS - 2]
    groups, dilation, norm_groups, eps, inner_groups, inner_eps = others[TENSORS - 2 : -2]
    key, query = (torch.group_norm(t, norm_groups, gamma, beta, eps) for t in (key, query))
    padded = F.pad(key, (dilation * (weight.shape[2] // 2),) * 4, mode="replicate")
    around = F.conv2d(padded, weight, dilation=dilation, groups=groups)
    centre = F.conv2d(query, weight.sum((2, 3), keepdim=True), groups=groups)
    rectified = F.conv2d(F.relu(around - centre + bias), inner, inner_bias, groups=groups).relu()
    return F.conv2d(torch.group_norm(rectified, inner_groups, inner_gamma, inner_beta, inner_eps), last, last_bias)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:TENSORS], inputs[-1])
    ctx.numbers = inputs[TENSORS:-1]


def _backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    (*saved, coarse), nothing = ctx.saved_tensors, (None,) * (len(ctx.numbers) + 1)
    if torch.is_grad_enabled() and any(t.requires_grad for t in (grad, *saved)):
        # What is differentiated twice goes layer by layer: nothing but tests of a layer's smoothness asks for it.
        return (*recorded_slopes(lambda *given: _eager(*given, *ctx.numbers, coarse), saved, grad), *nothing)
    return (*paired_difference_slope_fused(grad, *saved, *ctx.numbers, coarse), *nothing)


@torch.library.register_fake("upbench::paired_difference_fused", lib=LIBRARY)
def _(key: Tensor, query: Tensor, *others: Any) -> Tensor:
    return key.new_empty((key.shape[0], others[TENSORS - 4].shape[0], *key.shape[2:]))


@torch.library.register_fake("upbench::paired_difference_slope_fused", lib=LIBRARY)
def _(grad: Tensor, *others: Any) -> tuple[Tensor, ...]:
    return tuple(t.new_empty(t.shape) for t in others[:TENSORS])


torch.library.register_autograd("upbench::paired_difference_fused", _backward, setup_context=_keep, lib=LIBRARY)
LIBRARY.impl("paired_difference_fused", forward, "CPU")
