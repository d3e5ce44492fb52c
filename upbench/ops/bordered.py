"""Windows whose border is mirrored: a tap outside the map reads what stands as far inside."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from upbench.ops.dispatch import compute
from upbench.ops.registration import numel, register


def _windows(x: Tensor, kernel: int) -> Tensor:
    """The window around every pixel: [B, C, H, W] -> [B, C, kernel^2, H, W]."""
    b, c, h, w = x.shape
    reach = kernel // 2
    return F.unfold(F.pad(x, (reach,) * 4, mode="reflect"), kernel).view(b, c, kernel * kernel, h, w)


@register(
    "mirrored_similarity(Tensor keys, int kernel) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: args[0] ** 2 * numel(shapes[0]),
)
def _mirrored_similarity(keys: Tensor, kernel: int) -> Tensor:
    return torch.einsum("bcthw,bchw->bthw", _windows(keys, kernel), keys)


@register(
    "mirrored_assemble(Tensor x, Tensor weight, int kernel, int scale) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: args[0] ** 2 * numel(shapes[-1]),
)
def _mirrored_assemble(x: Tensor, weight: Tensor, kernel: int, scale: int) -> Tensor:
    b, c, h, w = x.shape
    weight = weight.view(b, kernel * kernel, h, scale, w, scale)
    out = torch.einsum("bcthw,bthuwv->bchuwv", _windows(x, kernel), weight)
    return out.reshape(b, c, h * scale, w * scale)


def mirrored_similarity(
    keys: Float[Tensor, "B D H W"], kernel: int, *, backend: str = "eager"
) -> Float[Tensor, "B K H W"]:
    """Compare every pixel with the pixels of the window around it.

    Args:
        keys: the map, each side larger than kernel // 2.
        kernel: side of the window in pixels, odd.
        backend: eager (unfold), fused (on a CPU the taps of the result lie last in memory) or auto.

    Returns:
        The dot products with the K = kernel^2 pixels of the window.

    Raises:
        BackendError: when the backend that was asked for cannot compute it.

    MACs: kernel^2 per key value, class gather. Source: FeatUp, joint bilateral upsampling.
    """
    return compute("mirrored_similarity", backend, _mirrored_similarity, keys, kernel)


def mirrored_assemble(
    x: Float[Tensor, "B C H W"],
    weight: Float[Tensor, "B K sH sW"],
    kernel: int,
    scale: int = 1,
    *,
    backend: str = "eager",
) -> Float[Tensor, "B C sH sW"]:
    """Compute `window_assemble` with a mirrored border and one set of weights for all channels.

    Args:
        x: the low-resolution map, each side larger than kernel // 2.
        weight: the weights of the K = kernel^2 taps.
        kernel: side of the window in low-resolution pixels, odd.
        scale: output pixels per low-resolution pixel.
        backend: eager (unfold, then a product), fused (on a CPU the result is channels-last) or auto.

    Returns:
        The weighted sums over the windows.

    Raises:
        BackendError: when the backend that was asked for cannot compute it.

    MACs: kernel^2 per output value, class gather.
    """
    return compute("mirrored_assemble", backend, _mirrored_assemble, x, weight, kernel, scale)
