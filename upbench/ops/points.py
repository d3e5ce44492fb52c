"""Points: fractional low-resolution positions, read bilinearly.

Positions are (x, y) pairs in low-resolution pixel indices, whole numbers being pixel centres, in float32 (float64
for float64 features) whatever the dtype of the features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from upbench.ops.dispatch import compute
from upbench.ops.registration import coordinate_dtype, numel, register


def lattice(height: int, width: int, like: Tensor) -> Tensor:
    """The index of every pixel of a height x width map: [2, height, width], x first, then y.

    like: gives the device, and the dtype through `coordinate_dtype`.
    """
    dtype = coordinate_dtype(like.dtype)
    y = torch.arange(height, device=like.device, dtype=dtype)
    x = torch.arange(width, device=like.device, dtype=dtype)
    return torch.stack((x.view(1, -1).expand(height, width), y.view(-1, 1).expand(height, width)))


def parents(height: int, width: int, scale: int, like: Tensor) -> Tensor:
    """The parent pixel of every output pixel, (i' // scale, j' // scale): [2, scale*height, scale*width], x first."""
    low = lattice(height, width, like)
    return low.repeat_interleave(scale, 1).repeat_interleave(scale, 2)


@register(
    "sample_points(Tensor x, Tensor points, str padding) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: 4 * numel(shapes[-1]),
)
def _sample_points(x: Tensor, points: Tensor, padding: str) -> Tensor:
    b, c, h, w = x.shape
    groups, count, out_h, out_w = points.shape[1:5]
    # Normalised from corner to corner, whole positions at the ends of the map stay exact, and with them the side from
    # which the gradient is taken. That form has no scale on a single row or column, so one is added.
    if h == 1 or w == 1:
        x = F.pad(x, (0, int(w == 1), 0, int(h == 1)), mode="replicate" if padding == "border" else "constant")
        h, w = x.shape[2:]
    grid = torch.stack((points[..., 0] * 2 / (w - 1) - 1, points[..., 1] * 2 / (h - 1) - 1), dim=-1)
    read = F.grid_sample(
        x.reshape(b * groups, c // groups, h, w).to(grid.dtype),
        grid.reshape(b * groups, count * out_h, out_w, 2),
        mode="bilinear",
        padding_mode=padding,
        align_corners=True,
    )
    return read.to(x.dtype).view(b, c, count, out_h, out_w)


@register(
    "point_similarity(Tensor query, Tensor keys, int heads) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: numel(shapes[1]),
)
def _point_similarity(query: Tensor, keys: Tensor, heads: int) -> Tensor:
    return (query.unsqueeze(2) * keys).unflatten(1, (heads, -1)).sum(2)


@register(
    "point_assemble(Tensor weight, Tensor values) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: numel(shapes[1]),
)
def _point_assemble(weight: Tensor, values: Tensor) -> Tensor:
    return (values.unflatten(1, (weight.shape[1], -1)) * weight.unsqueeze(2)).sum(3).flatten(1, 2)


def sample_points(x: Tensor, points: Tensor, padding: str, *, backend: str = "eager") -> Tensor:
    """Read a map bilinearly at points, each channel group at its own.

    x: [B, C, H, W]; points: [B, G, P, sH, sW, 2], G divides C -> [B, C, P, sH, sW].
    padding: "zeros" (what lies outside the map is zero) or "border" (positions are clamped onto the map).
    backend: eager (grid_sample), fused (one point per output pixel; on a CPU the result is channels-last) or auto.
    MACs: 4 per value read, class gather. Raises BackendError.
    """
    return compute("sample_points", backend, _sample_points, x, points, padding)


def point_similarity(query: Tensor, keys: Tensor, heads: int) -> Tensor:
    """Dot product of each query with the keys read at its points.

    query: [B, C, sH, sW]; keys: [B, C, P, sH, sW]; heads divides C -> [B, heads, P, sH, sW].
    MACs: one per key value, class gather.
    """
    return _point_similarity(query, keys, heads)


def point_assemble(weight: Tensor, values: Tensor) -> Tensor:
    """Weighted sum over the points of the values read there.

    weight: [B, heads, P, sH, sW], heads divides C; values: [B, C, P, sH, sW] -> [B, C, sH, sW].
    MACs: one per value, class gather.
    """
    return _point_assemble(weight, values)


def neighbour_positions(x: Tensor, out_h: int, out_w: int, kernel: int) -> tuple[Tensor, Tensor]:
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
    aligned, taps = neighbour_positions(x, out_h, out_w, kernel)
    source, weight = x.to(aligned.dtype), weight.to(aligned.dtype)
    out = torch.zeros((), device=x.device, dtype=aligned.dtype)
    # One tap at a time: all of them at once would need kernel^2 times the memory of the output.
    for tap in range(kernel * kernel):
        points = (aligned + taps[tap]).expand(b, 1, 1, -1, -1, -1)
        out = out + sample_points(source, points, "border").squeeze(2) * weight[:, tap : tap + 1]
    return out.to(x.dtype)


def neighbour_assemble(x: Tensor, weight: Tensor, kernel: int, *, backend: str = "eager") -> Tensor:
    """Weighted sum of the k x k bilinear samples around each output pixel's own position.

    x: [B, C, H, W]; weight: [B, kernel^2, H', W'], shared by the channels -> [B, C, H', W']. kernel odd, any ratio.
    out[p'] = sum over taps n of weight[n, p'] * x(clamp((p' + 0.5) * H / H' - 0.5 + n)), positions clamped onto the map.
    backend: eager (tap by tap), fused (the result is channels-last on a CPU) or auto.
    MACs: 5 kernel^2 per output value (4 to sample, 1 to weigh), class gather. Source: ReSFU, fine-grained neighbours.
    Raises BackendError.
    """
    return compute("neighbour_assemble", backend, _neighbour_assemble, x, weight, kernel)
