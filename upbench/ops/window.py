"""Windows: the k x k low-resolution pixels around the parent of each output pixel.

Output pixel (i', j') at integer scale s has the parent (i' // s, j' // s). Taps run row by row from the top left;
taps outside the map read zero, and the weights are not renormalised.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from upbench.ops._why_not import autocasted, resolve
from upbench.ops.fused import window_assemble_fused
from upbench.ops.registration import numel, register


@register(
    "window_assemble(Tensor x, Tensor weight, int kernel, int scale) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: args[0] ** 2 * numel(shapes[-1]),
)
def _window_assemble(x: Tensor, weight: Tensor, kernel: int, scale: int) -> Tensor:
    b, c, h, w = x.shape
    groups = weight.shape[1]
    taps = F.unfold(x, kernel, padding=kernel // 2).view(b, groups, c // groups, kernel * kernel, h, w)
    weight = weight.view(b, groups, kernel * kernel, h, scale, w, scale)
    out = torch.einsum("bgcthw,bgthuwv->bgchuwv", taps, weight)
    return out.reshape(b, c, h * scale, w * scale)


def window_assemble(x: Tensor, weight: Tensor, kernel: int, scale: int, *, backend: str = "eager") -> Tensor:
    """Weighted sum of the window around each output pixel's parent.

    x: [B, C, H, W]; weight: [B, G, kernel^2, sH, sW], one set of weights for each of G channel groups
    -> [B, C, sH, sW]. kernel odd, scale integer, G divides C.
    out[c, p] = sum over taps t of weight[c // (C/G), t, p] * x[c, parent(p) + offset(t)], taps outside the map zero.
    backend: eager (unfold, then a product), fused (the result is channels-last on a CPU) or auto.
    MACs: kernel^2 per output value, class gather. Source: CARAFE, eq. 2. Raises BackendError.
    """
    if resolve("window_assemble", backend, *autocasted(x, weight)) == "fused":
        return window_assemble_fused(*autocasted(x, weight), kernel)
    return _window_assemble(x, weight, kernel, scale)
