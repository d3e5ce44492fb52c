"""What all upsamplers share: the way they are called, and the check of what they are called with."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upbench.errors import InputError
from upbench.ops import output_size
from upbench.ops._why_not import autocasts as autocasts


class Upsampler(nn.Module):
    """Base of the zoo: called as `module(x)`, or as `module(x, guide)` where `guided` is true.

    x: [B, channels, H, W], low resolution; guide: [B, guide_channels, H', W'], high resolution;
    the result is [B, channels, H', W'] with H' = floor(H * scale), W' = floor(W * scale).
    size: an output size other than that, at most one low-resolution pixel away, as the levels of a pyramid over an
    odd-sized image need. Where the result would be larger it is cropped at the bottom and right (the guide is
    first extended by its last row and column); where it would be smaller x is extended by its last row and column.
    Raises InputError for anything else. Subclasses define `upsample(x)` or `upsample(x, guide)`.
    """

    guided = False
    backend = "auto"  # of the ops: auto, eager or fused, see `upbench.ops`
    fused_ops: tuple[str, ...] = ()  # those of its ops that have a fused form; none: backend fused is refused
    channels: int
    guide_channels: int
    scale: Any  # int where the method needs a whole number, else float
    upsample: Callable[..., Tensor]

    def forward(self, x: Tensor, guide: Tensor | None = None, size: tuple[int, int] | None = None) -> Tensor:
        self._check_x(x)
        if size is not None:
            x = self._extend(x, size)
        target = output_size(x.shape[2], x.shape[3], self.scale)
        if not self.guided:
            if guide is not None:
                raise InputError(f"{type(self).__name__} takes no guide; call it as module(x)")
            out = self.upsample(x)
        else:
            out = self.upsample(x, self._check_guide(x, guide, target, size))
        return out if size is None else out[:, :, : size[0], : size[1]]

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A state dict in another released layout, with the module's own keys; unknown keys are left as they are."""
        return state

    def _check_x(self, x: Tensor) -> None:
        if x.dim() != 4 or x.shape[1] != self.channels:
            raise InputError(
                f"{type(self).__name__} was given x of shape {list(x.shape)}, "
                f"but takes [batch, {self.channels}, height, width]"
            )

    def _extend(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """x, extended by its last row or column where `size` needs one more low-resolution pixel."""
        need = [math.ceil(n / self.scale) for n in size]
        need = [n + (math.floor(n * self.scale) < wanted) for n, wanted in zip(need, size, strict=True)]
        rows, columns = need[0] - x.shape[2], need[1] - x.shape[3]
        if abs(rows) > 1 or abs(columns) > 1 or min(size) < 1:
            raise InputError(
                f"size {tuple(size)} is more than one low-resolution pixel away from {self.scale:g} times "
                f"{tuple(x.shape[2:])}; crop or pad the feature first"
            )
        return F.pad(x, (0, max(columns, 0), 0, max(rows, 0)), mode="replicate") if max(rows, columns) > 0 else x

    def _check_guide(
        self, x: Tensor, guide: Tensor | None, target: tuple[int, int], size: tuple[int, int] | None
    ) -> Tensor:
        name = type(self).__name__
        if guide is None:
            raise InputError(
                f"{name} needs a guide of shape [batch, {self.guide_channels}, {target[0]}, {target[1]}]; "
                f"call it as module(x, guide)"
            )
        if guide.dim() != 4 or guide.shape[0] != x.shape[0] or guide.shape[1] != self.guide_channels:
            raise InputError(
                f"{name} was given a guide of shape {list(guide.shape)}, "
                f"but takes [{x.shape[0]}, {self.guide_channels}, {target[0]}, {target[1]}]"
            )
        wanted = target if size is None else tuple(size)
        if guide.shape[2] != wanted[0] or guide.shape[3] != wanted[1]:
            found = tuple(guide.shape[2:])
            fix = f"pass size={found} to crop or pad as FPNs do" if size is None else "size must be the guide's"
            raise InputError(
                f"{name} was given a guide of {found[0]}x{found[1]} where {wanted[0]}x{wanted[1]} is needed; {fix}"
            )
        if size is None:
            return guide
        return F.pad(guide, (0, target[1] - wanted[1], 0, target[0] - wanted[0]), mode="replicate")


def xavier(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases for every convolution in `module`, as mmcv's xavier_init does."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
            zero_bias(layer)


def zero_bias(layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Set the bias of a convolution to zero, where it has one."""
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class Conv2d(nn.Conv2d):
    """A convolution that computes in the dtype of its input, whatever the dtype of its weights."""

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return self._conv_forward(x, self.weight.to(x.dtype), bias)


def pointwise_rows(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1x1 convolution. x: [B, I, H, W] -> [B, O, H, W]; on a CPU one product of matrices, channels-last, whatever x is.

    A contiguous map enters the product transposed: it is never copied into the other memory order.
    On a GPU the convolution itself is as fast, and keeps the precision (TF32) that convolutions are set to.
    """
    if x.device.type == "cuda":
        return layer(x)
    out = F.linear(x.flatten(2).transpose(1, 2), layer.weight.flatten(1), layer.bias)
    return out.unflatten(1, (x.shape[2], x.shape[3])).permute(0, 3, 1, 2)


def no_autocast(x: Tensor) -> AbstractContextManager[object]:
    """A context in which torch.autocast does not lower the precision of what is computed from x."""
    return torch.autocast(x.device.type, enabled=False) if autocasts(x) else nullcontext()
