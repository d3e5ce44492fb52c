"""What all upsamplers share: the way they are called, and the check of what they are called with."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.fx import Proxy

from upbench.errors import InputError
from upbench.ops import output_size, pool_map, tracing


class Upsampler(nn.Module):
    """Base of the zoo: called as `module(x)`, or as `module(x, guide)` where `guided` is true.

    Subclasses define `upsample(x)` or `upsample(x, guide)`, and a constructor with keyword-only parameters, which are those
    of the card.

    Args:
        channels: channels C of the low-resolution map.
        scale: output pixels per low-resolution pixel along each axis.
        guide_channels: channels Cy of the high-resolution guide, where there is one.
    """

    guided = False
    """Whether it is called with a guide."""
    backend = "auto"
    """The backend of its ops, see `upbench.backends`."""
    fused_ops: tuple[str, ...] = ()
    """Those of its ops that a backend may compute, as its card says."""
    channels: int
    guide_channels: int
    scale: Any
    """An int where the method needs a whole number, else a float."""
    upsample: Callable[..., Tensor]

    def __init__(self, channels: int, scale: float, guide_channels: int | None = None) -> None:
        super().__init__()
        self.channels, self.scale = channels, scale
        if guide_channels is not None:
            self.guide_channels = guide_channels

    def forward(
        self,
        x: Float[Tensor, "B C H W"],
        guide: Float[Tensor, "B Cy oH oW"] | None = None,
        size: tuple[int, int] | None = None,
    ) -> Float[Tensor, "B C oH oW"]:
        """Upsample a map.

        Args:
            x: the low-resolution map.
            guide: the high-resolution guide, where `guided` is true.
            size: rows and columns of the output where they are not floor(H * scale) and floor(W * scale), at most one
                low-resolution pixel away, as the levels of a pyramid over an odd-sized image need. Where the result would
                be larger it is cropped at the bottom and right (the guide is first extended by its last row and column);
                where it would be smaller x is extended by its last row and column.

        Returns:
            The high-resolution map.

        Raises:
            InputError: for maps of other shapes, a guide too many or too few, and a size further away.
        """
        if isinstance(x, Proxy):
            return self._as_node(x, guide, size)
        self._check_x(x)
        if size is not None:
            x = self._extend(x, size)
        target = output_size(x.shape[2], x.shape[3], self.scale)
        maps: tuple[Tensor, ...] = (x,)
        if self.guided:
            maps = (x, self._check_guide(x, guide, target, size))
        elif guide is not None:
            raise InputError(f"{type(self).__name__} takes no guide; call it as module(x)")
        # A trace would write the answer down: what it is for has images.
        empty = not tracing() and x.shape[0] == 0
        out = self._empty(maps, target) if empty else self.upsample(*maps)
        return out if size is None else out[:, :, : size[0], : size[1]]

    @property
    def whole(self) -> Upsampler:
        """The upsampler itself: what the node of a graph that `torch.fx` has traced calls, where it is all of the graph."""
        return self

    def _as_node(self, x: Proxy, guide: Any, size: Any) -> Any:
        """One node of a graph that `torch.fx` traces, as torch's own layers are: what is checked and done inside depends on
        sizes, which such a trace does not know."""
        tracer: Any = x.tracer
        return tracer.create_proxy("call_module", tracer.path_of_module(self) or "whole", (x, guide, size), {})

    def _empty(self, maps: tuple[Tensor, ...], size: tuple[int, int]) -> Tensor:
        """The result for a batch of no images, of which all maps and parameters have a gradient: zeros.

        Several of torch's operators refuse such a batch, or their gradients do.
        """
        nothing = torch.stack([t[:0].sum().to(maps[0].dtype) for t in (*maps, *self.parameters())]).sum()
        return maps[0].new_zeros((0, self.channels, *size)) + nothing

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Upsampler:
        """What `.to` and its like do. A parameter of five dimensions, of which one is 1, is taken as one of four:
        otherwise torch could not convert a whole model to channels-last."""

        def apply(t: Tensor) -> Tensor:
            return fn(t.squeeze(2)).unsqueeze(2) if t.dim() == 5 and t.shape[2] == 1 else fn(t)

        return super()._apply(apply, recurse)

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the keys of a state dict in another released layout to the module's own.

        Args:
            state: the state dict, which stays as it is.

        Returns:
            The state dict with the module's keys; unknown keys are left as they are.
        """
        return state

    def _check_x(self, x: Float[Tensor, "B C H W"]) -> None:
        if x.dim() != 4 or x.shape[1] != self.channels:
            raise InputError(
                f"{type(self).__name__} was given x of shape {list(x.shape)}, "
                f"but takes [batch, {self.channels}, height, width]"
            )
        if not tracing() and (x.shape[2] < 1 or x.shape[3] < 1):
            raise InputError(
                f"{type(self).__name__} was given x of shape {list(x.shape)}, "
                f"but takes maps of at least one row and one column"
            )

    def _extend(self, x: Float[Tensor, "B C H W"], size: tuple[int, int]) -> Float[Tensor, "B C H1 W1"]:
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
        self,
        x: Float[Tensor, "B C H W"],
        guide: Float[Tensor, "B Cy gH gW"] | None,
        target: tuple[int, int],
        size: tuple[int, int] | None,
    ) -> Float[Tensor, "B Cy oH oW"]:
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
    """Set every convolution in `module` to Xavier-uniform weights and zero biases, as mmcv's xavier_init does."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
            zero_bias(layer)


def zero_bias(layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Set the bias of a convolution to zero, where it has one."""
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class GroupNorm(nn.GroupNorm):
    """A group norm that is given contiguous rows whatever the memory order of x, and normalises single values too.

    In other memory orders the gradient of torch 2.13 can end the process. A group of one value is its own mean, so
    that what remains of it is the bias; torch's function refuses it in one image, and takes it in two.
    """

    def forward(self, x: Tensor) -> Tensor:
        rows = x.contiguous().flatten(2)
        single = rows.shape[0] == 1 and rows.shape[2] == 1 and rows.shape[1] == self.num_groups
        norm = torch.group_norm if single else F.group_norm
        return norm(rows, self.num_groups, self.weight, self.bias, self.eps).view(x.shape)


class AdaptiveAvgPool2d(nn.AdaptiveAvgPool2d):
    """Adaptive average pooling to a square grid that can be exported for any size of x."""

    output_size: int

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C n n"]:
        return pool_map(x, self.output_size)


class Conv2d(nn.Conv2d):
    """A convolution that computes in the dtype of its input, whatever the dtype of its weights."""

    def forward(self, x: Float[Tensor, "B I H W"]) -> Float[Tensor, "B O oH oW"]:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return self._conv_forward(x, self.weight.to(x.dtype), bias)
