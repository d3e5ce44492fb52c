"""Neighbours: k x k points one low-resolution pixel apart around the exact position of each output pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from upbench.ops._why_not import resolve
from upbench.ops.fused import deform_assemble_fused
from upbench.ops.points import lattice, sample_points
from upbench.ops.registration import numel, register


def _positions(x: Tensor, out_h: int, out_w: int, kernel: int) -> tuple[Tensor, Tensor]:
    """The exact position of each output pixel, [H', W', 2], and the steps of the taps from there, [kernel^2, 2]."""
    h, w = x.shape[2:]
    column, row = lattice(out_h, out_w, x) + 0.5
    aligned = torch.stack((column * w / out_w - 0.5, row * h / out_h - 0.5), dim=-1)
    return aligned, (lattice(kernel, kernel, x) - kernel // 2).flatten(1).t()


@register(
    "neighbour_assemble(Tensor x, Tensor weight, int kernel) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: 5 * args[0] ** 2 * numel(shapes[-1]),
)
def _neighbour_assemble(x: Tensor, weight: Tensor, kernel: int) -> Tensor:
    b, out_h, out_w = x.shape[0], *weight.shape[2:]
    aligned, taps = _positions(x, out_h, out_w, kernel)
    source, weight = x.to(aligned.dtype), weight.to(aligned.dtype)
    out = torch.zeros((), device=x.device, dtype=aligned.dtype)
    # One tap at a time: all of them at once would need kernel^2 times the memory of the output.
    for tap in range(kernel * kernel):
        points = (aligned + taps[tap]).expand(b, 1, 1, -1, -1, -1)
        out = out + sample_points(source, points, "border").squeeze(2) * weight[:, tap : tap + 1]
    return out.to(x.dtype)


@register(
    "neighbour_assemble_fused(Tensor x, Tensor weight, int kernel) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: 5 * args[0] ** 2 * numel(shapes[-1]),
    shares={"neighbour_assemble": 1},
)
def _neighbour_assemble_fused(x: Tensor, weight: Tensor, kernel: int) -> Tensor:
    aligned, taps = _positions(x, weight.shape[2], weight.shape[3], kernel)
    points = (aligned + taps[:, None, None]).expand(x.shape[0], 1, -1, -1, -1, -1)
    source, weight = x.to(aligned.dtype), weight.to(aligned.dtype)
    return deform_assemble_fused(source, weight.unsqueeze(1), points, "border").to(x.dtype)


def neighbour_assemble(x: Tensor, weight: Tensor, kernel: int, *, backend: str = "eager") -> Tensor:
    """Weighted sum of the k x k bilinear samples around each output pixel's own position.

    x: [B, C, H, W]; weight: [B, kernel^2, H', W'], shared by the channels -> [B, C, H', W']. kernel odd, any ratio.
    out[p'] = sum over taps n of weight[n, p'] * x(clamp((p' + 0.5) * H / H' - 0.5 + n)), positions clamped onto the map.
    backend: eager (tap by tap), fused (the result is channels-last on a CPU) or auto.
    MACs: 5 kernel^2 per output value (4 to sample, 1 to weigh), class gather. Source: ReSFU, fine-grained neighbours.
    Raises BackendError.
    """
    if resolve("neighbour_assemble", backend, x) == "fused":
        return _neighbour_assemble_fused(x, weight, kernel)
    return _neighbour_assemble(x, weight, kernel)
