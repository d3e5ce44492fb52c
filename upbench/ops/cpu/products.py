"""Pointwise convolutions of maps whose channels lie last, by oneDNN.

torch multiplies matrices of float32 with MKL, and takes a 1x1 convolution of few images to it as well where it has one thread.
On an AMD EPYC oneDNN is 2.0 to 2.2 times as fast, forward and backward (256 to 416 channels at 120x120). torch asks it for
batches of 16 images or more: the rows of a map are such a batch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops.cpu import map_kernels
from upbench.ops.dispatch import autocasts

FEWEST_ROWS = 16
"""Images from which torch takes a convolution to oneDNN at any number of threads."""


def _supported(name: str) -> bool:
    """What torch says of oneDNN's kernels on this CPU, and True where it cannot be asked."""
    return bool(getattr(torch.ops.mkldnn, f"_is_mkldnn_{name}_supported", lambda: True)())


SLOW = tuple(d for d, name in ((torch.bfloat16, "bf16"), (torch.float16, "fp16")) if not _supported(name))
"""Dtypes whose products oneDNN has no kernels for here. torch's own take 10 to 100 times as long as those of float32."""

HAS_TILES = bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())
"""Whether this CPU multiplies tiles of bfloat16 (AMX), which oneDNN uses and the kernels here do not."""


def slow_products(x: Tensor) -> bool:
    """Return whether products in the dtype of a map are faster in float32, conversions included.

    Args:
        x: the map.
    """
    return x.dtype in SLOW and x.device.type == "cpu"


def widens(x: Tensor) -> bool:
    """Return whether small maps of half precision are better held as float32 here.

    They are where it has no fast products, and where our own kernels round to bfloat16 what they multiply.

    Args:
        x: a map. Compiled or traced ones stay as they are.
    """
    plain = not (torch.compiler.is_compiling() or torch.jit.is_tracing())  # type: ignore[attr-defined]
    return plain and (slow_products(x) or map_kernels.by_pairs(x))


def slow_layers(module: nn.Module, *maps: Tensor) -> bool:
    """Return whether a module of torch's layers is faster in float32 as a whole, conversions included.

    Not where it is compiled or traced, under autocast, or where its maps and parameters have several dtypes; nor in training if it
    has buffers, which it may write.

    Args:
        module: the module.
        maps: what it is given.
    """
    if not slow_products(maps[0]) or torch.is_autocast_enabled("cpu"):
        return False
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined]
        return False
    if module.training and any(True for _ in module.buffers()):
        return False
    return all(t.dtype == maps[0].dtype for t in (*maps, *module.parameters()))


def in_dtype(module: nn.Module, dtype: torch.dtype) -> Any:
    """Return a module as it computes with parameters and buffers of a dtype: the module itself where they have it.

    Args:
        module: the module.
        dtype: a floating one.
    """
    held = {n: t for n, t in (*module.named_parameters(), *module.named_buffers()) if t.is_floating_point()}
    if all(t.dtype == dtype for t in held.values()):
        return module
    converted = {n: t.to(dtype) for n, t in held.items()}
    return lambda *args: torch.func.functional_call(module, converted, args)


def convolved(layer: nn.Module, x: Float[Tensor, "B I H W"]) -> Any:
    """Return what a layer gives: half precision in float32 where torch would take one number after another.

    Args:
        layer: a convolution, or layers with convolutions among them.
        x: the map.
    """
    if autocasts(x) or not slow_products(x) or any(t.dtype != x.dtype for t in layer.parameters()):
        return layer(x)
    if layer.training and any(True for _ in layer.buffers()):
        return layer(x)  # a batch norm writes its own statistics
    if isinstance(layer, nn.Conv2d):
        bias = None if layer.bias is None else layer.bias.float()
        return layer._conv_forward(x.float(), layer.weight.float(), bias).to(x.dtype)
    return in_dtype(layer, torch.float32)(x.float()).to(x.dtype)


def pointwise(
    rows: Float[Tensor, "B H W I"], weight: Float[Tensor, "O I"], bias: Float[Tensor, " O"] | None = None
) -> Float[Tensor, "B H W O"]:
    """Multiply every pixel by a matrix: `F.linear`.

    Args:
        rows: a map, channels last.
        weight: the matrix.
        bias: added to every pixel, or None.
    """
    if slow_products(rows) or (rows.dtype == torch.float16 and rows.device.type == "cpu"):
        # Without instructions for it torch takes 50 times as long.
        single = pointwise(rows.float(), weight.float(), None if bias is None else bias.float())
        return single.to(rows.dtype)
    # Compiled or traced, the number of rows is not known, and other kernels are chosen.
    known = not (torch.compiler.is_compiling() or torch.jit.is_tracing())  # type: ignore[attr-defined]
    if not (known and rows.device.type == "cpu" and rows.dtype == torch.float32 and torch.backends.mkldnn.enabled):
        return F.linear(rows, weight, bias)
    b, h, w, channels = rows.shape
    if b * h < FEWEST_ROWS:
        return F.linear(rows, weight, bias)
    images = rows.reshape(b * h, w, channels).permute(0, 2, 1).unsqueeze(2)
    out = F.conv2d(images, weight.view(*weight.shape, 1, 1), bias)
    return out.squeeze(2).permute(0, 2, 1).reshape(b, h, w, weight.shape[0])
