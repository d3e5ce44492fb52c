"""Reassembly: softmax, sum over windows and gate in one step, for those that need none of what lies between."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from upbench.ops.dispatch import compute
from upbench.ops.gating import gate_fuse
from upbench.ops.layers import softmax_over_taps
from upbench.ops.resize import interpolate
from upbench.ops.window import window_assemble, window_similarity


def reassemble(
    x: Float[Tensor, "B C H W"],
    logits: Tensor,
    kernel: int,
    scale: int,
    *,
    guide: Float[Tensor, "B C sH sW"] | None = None,
    gate: Float[Tensor, "B 1 H W"] | None = None,
    dtype: torch.dtype | None = None,
    backend: str = "eager",
) -> Float[Tensor, "B C sH sW"]:
    """Sum the window around each output pixel's parent with the softmax of its logits, and mix a guide in.

    Args:
        x: the low-resolution map.
        logits: for each of G groups of channels, those of the T = kernel^2 taps: [B, G, T, scale H, scale W], or
            [B, G T scale^2, H, W] before they are shuffled to sub-pixels.
        kernel: side of the window in low-resolution pixels, odd.
        scale: output pixels per low-resolution pixel.
        guide: the high-resolution guide, or None.
        gate: the share of the guide in the children of every low-resolution pixel, from 0 to 1; given where there is a guide.
        dtype: of the weights; None for that of x.
        backend: eager, fused (on a CPU one op, which holds no weights; elsewhere the steps one by one) or auto.

    Returns:
        gate * guide + (1 - gate) * window_assemble(x, softmax(logits)); without a guide the second alone.

    Raises:
        BackendError: when the backend that was asked for cannot compute it.

    MACs: those of the steps. Source: CARAFE, eq. 2 to 4; FADE, the gating mechanism.
    """
    dtype = dtype or x.dtype
    given = (x, logits, guide, gate, kernel, scale, dtype)
    return compute("reassemble", backend, partial(_reassemble, backend), *given, optional=True)


def _reassemble(
    backend: str,
    x: Tensor,
    logits: Tensor,
    guide: Tensor | None,
    gate: Tensor | None,
    kernel: int,
    scale: int,
    dtype: torch.dtype,
) -> Tensor:
    if logits.dim() == 4:
        logits = F.pixel_shuffle(logits, scale)
        logits = logits.unflatten(1, (logits.shape[1] // kernel**2, kernel**2))
    # Autocast would return float32 here.
    weights = softmax_over_taps(logits, dim=2, backend=backend).to(dtype)
    del logits
    up = window_assemble(x.to(dtype), weights, kernel, scale, backend=backend)
    if guide is None or gate is None:
        return up
    gate = interpolate(gate, guide.shape[2], guide.shape[3], "nearest")
    return gate_fuse(guide, up, gate, reuse_up=True, backend=backend)


def attend_window(
    query: Float[Tensor, "B d sH sW"],
    keys: Float[Tensor, "B d H W"],
    x: Float[Tensor, "B C H W"],
    kernel: int,
    scale: int,
    *,
    backend: str = "eager",
) -> Float[Tensor, "B C sH sW"]:
    """Attend from each query to the window of its parent.

    Args:
        query: the high-resolution map of queries.
        keys: the low-resolution map of keys.
        x: the low-resolution map of values.
        kernel: side of the window in low-resolution pixels, odd.
        scale: output pixels per low-resolution pixel.
        backend: eager, fused (on a CPU one op; elsewhere the steps one by one) or auto.

    Returns:
        window_assemble(x, softmax(window_similarity(query, keys))).

    Raises:
        BackendError: when the backend that was asked for cannot compute it.

    MACs: those of the steps. Source: SAPA, eq. 6 and 7.
    """
    given = (query, keys, x, kernel, scale)
    return compute("attend_window", backend, partial(_attend_window, backend), *given, optional=True)


def _attend_window(backend: str, query: Tensor, keys: Tensor, x: Tensor, kernel: int, scale: int) -> Tensor:
    logits = window_similarity(query, keys, kernel, scale, backend=backend)
    weights = softmax_over_taps(logits, dim=1, backend=backend).to(x.dtype)
    return window_assemble(x, weights.unsqueeze(1), kernel, scale, backend=backend)
