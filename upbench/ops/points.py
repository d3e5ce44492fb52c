"""Points: fractional low-resolution positions, read bilinearly.

Positions are (x, y) pairs in low-resolution pixel indices, whole numbers being pixel centres, in float32 (float64
for float64 features) whatever the dtype of the features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from upbench.ops.dispatch import compute
from upbench.ops.registration import coordinate_dtype, numel, register


def lattice(height: int, width: int, like: Tensor) -> Float[Tensor, "2 {height} {width}"]:
    """Name every pixel of a map by its index.

    Args:
        height: rows of the map.
        width: columns of the map.
        like: any tensor that gives the device, and the dtype through `coordinate_dtype`.

    Returns:
        The column (x), then the row (y) of every pixel.
    """
    dtype = coordinate_dtype(like.dtype)
    y = torch.arange(height, device=like.device, dtype=dtype)
    x = torch.arange(width, device=like.device, dtype=dtype)
    return torch.stack((x.view(1, -1).expand(height, width), y.view(-1, 1).expand(height, width)))


def parents(height: int, width: int, scale: int, like: Tensor) -> Float[Tensor, "2 {scale}*{height} {scale}*{width}"]:
    """Name the parent of every output pixel, (i' // scale, j' // scale).

    Args:
        height: rows of the low-resolution map.
        width: columns of the low-resolution map.
        scale: output pixels per low-resolution pixel.
        like: any tensor that gives the device, and the dtype through `coordinate_dtype`.

    Returns:
        The column (x), then the row (y) of the parent, in low-resolution pixels.
    """
    low = lattice(height, width, like)
    return low.repeat_interleave(scale, 1).repeat_interleave(scale, 2)


@register(
    "sample_points(Tensor x, Tensor points, str padding) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: 4 * numel(shapes[-1]),
)
def _sample_points(
    x: Float[Tensor, "B C H W"], points: Float[Tensor, "B G P oH oW 2"], padding: str
) -> Float[Tensor, "B C P oH oW"]:
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
def _point_similarity(
    query: Float[Tensor, "B C oH oW"], keys: Float[Tensor, "B C P oH oW"], heads: int
) -> Float[Tensor, "B {heads} P oH oW"]:
    return (query.unsqueeze(2) * keys).unflatten(1, (heads, -1)).sum(2)


@register(
    "point_assemble(Tensor weight, Tensor values) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: numel(shapes[1]),
)
def _point_assemble(
    weight: Float[Tensor, "B heads P oH oW"], values: Float[Tensor, "B C P oH oW"]
) -> Float[Tensor, "B C oH oW"]:
    return (values.unflatten(1, (weight.shape[1], -1)) * weight.unsqueeze(2)).sum(3).flatten(1, 2)


def sample_points(
    x: Float[Tensor, "B C H W"], points: Float[Tensor, "B G P oH oW 2"], padding: str, *, backend: str = "eager"
) -> Float[Tensor, "B C P oH oW"]:
    """Read a map bilinearly at points, each group of channels at its own.

    Args:
        x: the low-resolution map.
        points: P positions (x, y) of each output pixel and of each of G groups of channels, in low-resolution pixels; G
            divides C.
        padding: "zeros" (the map is zero outside) or "border" (positions are clamped onto the map).
        backend: eager (grid_sample), fused (one point per output pixel; on a CPU the result is channels-last) or auto.

    Returns:
        The values at the points.

    Raises:
        BackendError: when the backend that was asked for cannot compute it.

    MACs: 4 per value read, class gather.
    """
    return compute("sample_points", backend, _sample_points, x, points, padding)


def point_similarity(
    query: Float[Tensor, "B C oH oW"], keys: Float[Tensor, "B C P oH oW"], heads: int
) -> Float[Tensor, "B {heads} P oH oW"]:
    """Compare each query with the keys that were read at its points.

    Args:
        query: the high-resolution map of queries.
        keys: the keys of every output pixel.
        heads: parts of the channels that are compared each for itself; divides C.

    Returns:
        The dot products of query and key, one for each head and point.

    MACs: one per key value, class gather.
    """
    return _point_similarity(query, keys, heads)


def point_assemble(
    weight: Float[Tensor, "B heads P oH oW"], values: Float[Tensor, "B C P oH oW"]
) -> Float[Tensor, "B C oH oW"]:
    """Sum the values that were read at the points with weights.

    Args:
        weight: the weight of each point for each of the heads; their number divides C.
        values: the values of every output pixel.

    Returns:
        The weighted sums over the points.

    MACs: one per value, class gather.
    """
    return _point_assemble(weight, values)


def sample_window_positions(
    x: Float[Tensor, "B C H W"], out_h: int, out_w: int, kernel: int
) -> tuple[Float[Tensor, "{out_h} {out_w} 2"], Float[Tensor, "T 2"]]:
    """Name the exact position of each output pixel on the map, and the steps from there to the taps.

    Args:
        x: the low-resolution map.
        out_h: rows of the output.
        out_w: columns of the output.
        kernel: side of the window in low-resolution pixels, odd.

    Returns:
        The positions (x, y) and the steps of the T = kernel^2 taps, in low-resolution pixels.
    """
    h, w = x.shape[2:]
    column, row = lattice(out_h, out_w, x) + 0.5
    aligned = torch.stack((column * w / out_w - 0.5, row * h / out_h - 0.5), dim=-1)
    return aligned, (lattice(kernel, kernel, x) - kernel // 2).flatten(1).t()


# Records, cards and counts know it by this name of its registered op.
@register(
    "neighbour_assemble(Tensor x, Tensor weight, int kernel) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: 5 * args[0] ** 2 * numel(shapes[-1]),
)
def _sample_window_assemble(
    x: Float[Tensor, "B C H W"], weight: Float[Tensor, "B T oH oW"], kernel: int
) -> Float[Tensor, "B C oH oW"]:
    b, out_h, out_w = x.shape[0], *weight.shape[2:]
    aligned, taps = sample_window_positions(x, out_h, out_w, kernel)
    source, weight = x.to(aligned.dtype), weight.to(aligned.dtype)
    out = torch.zeros((), device=x.device, dtype=aligned.dtype)
    # One tap at a time: all of them at once would need kernel^2 times the memory of the output.
    for tap in range(kernel * kernel):
        points = (aligned + taps[tap]).expand(b, 1, 1, -1, -1, -1)
        out = out + sample_points(source, points, "border").squeeze(2) * weight[:, tap : tap + 1]
    return out.to(x.dtype)


def sample_window_assemble(
    x: Float[Tensor, "B C H W"], weight: Float[Tensor, "B T oH oW"], kernel: int, *, backend: str = "eager"
) -> Float[Tensor, "B C oH oW"]:
    """Sum the k x k bilinear samples around each output pixel's own position with weights.

    Args:
        x: the low-resolution map.
        weight: the weights of the T = kernel^2 taps, shared by the channels, at any ratio of the sizes.
        kernel: side of the window in low-resolution pixels, odd.
        backend: eager (tap by tap), fused (on a CPU the result is channels-last) or auto.

    Returns:
        out[p'] = sum over taps n of weight[n, p'] * x((p' + 0.5) * H / H' - 0.5 + n), positions clamped onto the map.

    Raises:
        BackendError: when the backend that was asked for cannot compute it.

    MACs: 5 kernel^2 per output value (4 to sample, 1 to weigh), class gather. Source: ReSFU, fine-grained neighbours.
    """
    return compute("neighbour_assemble", backend, _sample_window_assemble, x, weight, kernel)
