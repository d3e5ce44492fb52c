"""Several modules of one kind as one: their layers side by side in grouped convolutions and group norms.

A stack of S modules takes a batch of S times as many pictures, those of one place in the batch one after another: [B * S,
C, H, W]. Seen as [B, S * C, H, W], which costs nothing, a convolution of S groups applies every module's own weights. All
that has no weights works on the pictures as they are. So one step of S trainings has the operators of one.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upbench.upsamplers._base import GroupNorm


def stacked(modules: Sequence[nn.Module]) -> nn.Module | None:
    """Return modules as one, with copies of their weights; None where that cannot be.

    It can be where every weight belongs to a layer in `_LAYERS`. Whether a module uses such layers in another way than by
    calling them is not seen here: compare one step with that of the modules, see `training.agrees`.

    Args:
        modules: Modules of one class with the same settings.
    """
    first = modules[0]
    owned = {id(p) for layer in first.modules() if type(layer) in _LAYERS for p in layer.parameters(recurse=False)}
    if any(id(parameter) not in owned for parameter in first.parameters()):
        return None
    if any(
        isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.padding_mode != "zeros" for layer in first.modules()
    ):
        return None
    whole = copy.deepcopy(first)
    for name, layer in list(first.named_modules()):
        if type(layer) in _LAYERS:
            form = _LAYERS[type(layer)]([module.get_submodule(name) for module in modules])
            if name == "":
                return form
            owner, _, attribute = name.rpartition(".")
            setattr(whole.get_submodule(owner), attribute, form)
    return whole


class _Stacked(nn.Module):
    """One layer of every module, an instance of the layer's own class since ops ask for that.

    Args:
        parts: The layers, all alike.
    """

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        nn.Module.__init__(self)
        self.__dict__.update({name: value for name, value in vars(parts[0]).items() if not name.startswith("_")})
        self.runs = len(parts)
        for name, parameter in parts[0]._parameters.items():
            together = [getattr(part, name).detach() for part in parts] if parameter is not None else None
            self.register_parameter(name, None if together is None else nn.Parameter(torch.cat(together)))
        # Steps that would take the weights of a layer to a kernel of their own must call the layer, as one with hooks.
        self.register_forward_pre_hook(_called)

    def forward(self, x: Tensor) -> Tensor:
        """Apply every module's layer to its own pictures of [B * S, C, H, W]."""
        out = self.side_by_side(x.contiguous().view(-1, self.runs * x.shape[1], *x.shape[2:]))
        return out.contiguous().view(x.shape[0], -1, *out.shape[2:])

    def side_by_side(self, x: Tensor) -> Tensor:
        """Apply the layers to [B, S * C, H, W]."""
        raise NotImplementedError


def _called(layer: nn.Module, inputs: Any) -> None:
    return None


class _Conv2d(_Stacked, nn.Conv2d):
    def side_by_side(self, x: Tensor) -> Tensor:
        groups = self.groups * self.runs
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, groups)


class _ConvTranspose2d(_Stacked, nn.ConvTranspose2d):  # type: ignore[misc]  # no output_size in a stack
    def side_by_side(self, x: Tensor) -> Tensor:
        sizes: Any = (self.stride, self.padding, self.output_padding, self.groups * self.runs, self.dilation)
        return F.conv_transpose2d(x, self.weight, self.bias, *sizes)


class _GroupNorm(_Stacked, nn.GroupNorm):
    def side_by_side(self, x: Tensor) -> Tensor:
        return F.group_norm(x, self.num_groups * self.runs, self.weight, self.bias, self.eps)


_LAYERS: dict[type[nn.Module], type[_Stacked]] = {
    nn.Conv2d: _Conv2d,
    nn.ConvTranspose2d: _ConvTranspose2d,
    nn.GroupNorm: _GroupNorm,
    GroupNorm: _GroupNorm,
}
"""A layer's class -> its form for several runs. A batch norm is missing on purpose: its running means are no weights."""
