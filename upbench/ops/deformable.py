"""Sampling at points together with what is done with the samples: compare them with a query, sum them; and whole attention.

The eager forms are compositions of `sample_points` with `point_similarity` and `point_assemble`; a backend need not hold
what was read, which is as large as the output times the number of points.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops.cpu.products import slow_products
from upbench.ops.dispatch import compute, no_autocast
from upbench.ops.layers import conv1x1, convolve, softmax_over_taps
from upbench.ops.offsets import child_points, points_around
from upbench.ops.points import point_assemble, point_similarity, sample_points
from upbench.ops.registration import coordinate_dtype, numel, register
from upbench.ops.resize import resize_map


def deform_similarity(
    query: Float[Tensor, "B C oH oW"],
    keys: Float[Tensor, "B C H W"],
    points: Float[Tensor, "B G P oH oW 2"],
    padding: str,
    heads: int,
    *,
    backend: str = "eager",
) -> Float[Tensor, "B {heads} P oH oW"]:
    """Compare each query with the keys at its points.

    Args:
        query: the high-resolution map of queries.
        keys: the low-resolution map of keys.
        points: P positions (x, y) for each of G groups of channels, in low-resolution pixels; G divides C.
        padding: what is read outside the map, as in `sample_points`.
        heads: parts of the channels that are compared each for itself; divides C.
        backend: eager, fused (on a CPU the points of the result lie last in memory) or auto.

    Returns:
        The dot products of query and key.

    Raises:
        BackendError: when the backend that was asked for cannot compute it.

    MACs: 5 per value read (4 to sample, 1 to compare), class gather.
    """
    return compute("deform_similarity", backend, _deform_similarity, query, keys, points, padding, heads)


def _deform_similarity(
    query: Float[Tensor, "B C oH oW"],
    keys: Float[Tensor, "B C H W"],
    points: Float[Tensor, "B G P oH oW 2"],
    padding: str,
    heads: int,
) -> Float[Tensor, "B {heads} P oH oW"]:
    return point_similarity(query, sample_points(keys, points, padding), heads)


def deform_assemble(
    x: Float[Tensor, "B C H W"],
    weight: Float[Tensor, "B heads P oH oW"],
    points: Float[Tensor, "B G P oH oW 2"],
    padding: str,
    *,
    backend: str = "eager",
) -> Float[Tensor, "B C oH oW"]:
    """Sum the values at each output pixel's points with weights.

    Args:
        x: the low-resolution map.
        weight: the weight of each point for each of the heads; their number divides C.
        points: P positions (x, y) for each of G groups of channels, in low-resolution pixels; G divides C.
        padding: what is read outside the map, as in `sample_points`.
        backend: eager, fused (on a CPU the result is channels-last) or auto.

    Returns:
        The weighted sums.

    Raises:
        BackendError: when the backend that was asked for cannot compute it.

    MACs: 5 per value read (4 to sample, 1 to weigh), class gather.
    """
    return compute("deform_assemble", backend, _deform_assemble, x, weight, points, padding)


def _deform_assemble(
    x: Float[Tensor, "B C H W"],
    weight: Float[Tensor, "B heads P oH oW"],
    points: Float[Tensor, "B G P oH oW 2"],
    padding: str,
) -> Float[Tensor, "B C oH oW"]:
    return point_assemble(weight, sample_points(x, points, padding))


def offset_attention(
    x: Float[Tensor, "B C H W"],
    norm: nn.Module,
    query: nn.Conv2d,
    key: nn.Conv2d,
    predictor: nn.Sequential,
    embedding: Float[Tensor, "{heads} T d"] | None,
    theta: float,
    in_input_pixels: bool,
    heads: int,
    size: tuple[int, int],
    *,
    backend: str = "eager",
) -> Float[Tensor, "B C {size[0]} {size[1]}"]:
    """Attend from an interpolated query to points around each output pixel that are moved by predicted offsets.

    Args:
        x: the low-resolution map, which gives queries, keys and values.
        norm: a layer norm over the channels whose child `norm` holds its parameters.
        query: 1x1 convolution of the normed x to heads * d channels, without bias; its result is interpolated to `size`,
            corner on corner.
        key: the same for the keys, which are not interpolated.
        predictor: the layers that predict the offsets from the query, as in `points_around`.
        embedding: added to the keys of the T taps, or None.
        theta: bound of the offsets in pixels.
        in_input_pixels: whether taps and theta are measured in low-resolution pixels, not in output pixels.
        heads: attention heads; divides C.
        size: rows and columns of the output.
        backend: eager, fused (on a CPU where no gradient is recorded one op, whose result is channels-last) or auto.

    Returns:
        out[p] = sum over taps t of softmax_t(query(p) . (key(s_t) + embedding_t) / sqrt(d)) * x(s_t) with
        s = `points_around`(predictor, query), zero outside the map.

    Raises:
        BackendError: when the backend that was asked for cannot compute it.

    The query and the points are at least float32, whatever the dtype of x and autocast. MACs: those of the ops it stands
    for. Source: LDA-AQU, eq. 6-11.
    """
    eager = partial(_offset_attention, backend)
    given = (x, norm, query, key, predictor, embedding, theta, in_input_pixels, heads, size)
    return compute("offset_attention", backend, eager, *given, optional=True)


def _offset_attention(
    backend: str,
    x: Float[Tensor, "B C H W"],
    norm: nn.Module,
    query: nn.Conv2d,
    key: nn.Conv2d,
    predictor: nn.Sequential,
    embedding: Float[Tensor, "{heads} T d"] | None,
    theta: float,
    in_input_pixels: bool,
    heads: int,
    size: tuple[int, int],
) -> Float[Tensor, "B C {size[0]} {size[1]}"]:
    # The query decides where is read, and theta makes eleven pixels of its rounding: it is float32 in any dtype.
    with no_autocast(x):
        normed = norm(x.to(coordinate_dtype(x.dtype)))
        queries = resize_map(convolve(query, normed), *size, align_corners=True)
        points = points_around(predictor, queries, theta, in_input_pixels, x.shape[2], x.shape[3])
    keys = sample_points(key(normed.to(x.dtype)), points, "zeros")
    if embedding is not None:
        # [heads, taps, d] -> [heads d, taps, 1, 1]
        keys = keys + embedding.transpose(1, 2).flatten(0, 1)[..., None, None]
    logits = point_similarity(queries.to(keys.dtype), keys, heads) * (queries.shape[1] // heads) ** -0.5
    weights = F.softmax(logits, dim=2).to(x.dtype)
    return deform_assemble(x, weights, points, "zeros", backend=backend)


def guided_attention(
    x: Float[Tensor, "B C H W"],
    normed: Float[Tensor, "B C H W"],
    guide: Float[Tensor, "B Cy {scale}*H {scale}*W"],
    query: nn.Conv2d,
    key: nn.Conv2d,
    offset: nn.Conv2d,
    scale: int,
    groups: int,
    each: bool,
    *,
    backend: str = "eager",
) -> Float[Tensor, "B C {scale}*H {scale}*W"]:
    """Attend from a projected guide to points that are offsets away from each output pixel's parent.

    Args:
        x: the low-resolution map, which gives the values.
        normed: x after its norm, which gives keys and offsets.
        guide: the high-resolution guide.
        query: 1x1 convolution of the guide to groups * d channels.
        key: 1x1 convolution of `normed` to groups * d channels.
        offset: 1x1 convolution of `normed` to 2 * groups * points channels, times scale^2 with `each`; in low-resolution
            pixels.
        scale: output pixels per low-resolution pixel.
        groups: groups of channels with points and an attention map each; divides C.
        each: whether every sub-pixel has offsets of its own.
        backend: eager, fused (on a CPU where no gradient is recorded one op, whose result is channels-last) or auto.

    Returns:
        out[p] = sum over points t of softmax_t(query(guide)(p) . key(normed)(s_t)) * x(s_t) with
        s = `child_points`(offset(normed)), zero outside the map; similarities are not divided by sqrt(d).

    Raises:
        BackendError: when the backend that was asked for cannot compute it.

    MACs: those of the ops it stands for. Source: SAPA-D, eq. 8.
    """
    eager = partial(_guided_attention, backend)
    return compute(
        "guided_attention", backend, eager, x, normed, guide, query, key, offset, scale, groups, each, optional=True
    )


def _guided_attention(
    backend: str,
    x: Float[Tensor, "B C H W"],
    normed: Float[Tensor, "B C H W"],
    guide: Float[Tensor, "B Cy {scale}*H {scale}*W"],
    query: nn.Conv2d,
    key: nn.Conv2d,
    offset: nn.Conv2d,
    scale: int,
    groups: int,
    each: bool,
) -> Float[Tensor, "B C {scale}*H {scale}*W"]:
    points = child_points(offset(normed), groups, scale, each)
    keys, queries = conv1x1(key, normed, backend=backend), conv1x1(query, guide, backend=backend)
    logits = deform_similarity(queries, keys, points, "zeros", groups, backend=backend)
    weights = softmax_over_taps(logits, dim=2, backend=backend).to(x.dtype)
    return deform_assemble(x, weights, points, "zeros", backend=backend)


@register(
    "add_position(Tensor logits, Tensor query, Tensor embedding) -> Tensor",
    kind="elementwise",
    macs=lambda shapes, args: shapes[2][1] * numel(shapes[1]),
)
def _add_position(
    logits: Float[Tensor, "B heads P oH oW"], query: Float[Tensor, "B C oH oW"], embedding: Float[Tensor, "heads P d"]
) -> Float[Tensor, "B heads P oH oW"]:
    b, _, h, w = query.shape
    heads, taps, d = embedding.shape
    rows = query.permute(0, 2, 3, 1).reshape(b * h * w, heads, d)
    if slow_products(rows) or (rows.dtype == torch.float16 and rows.device.type == "cpu"):
        rows = rows.float()  # torch multiplies one number after another there
    # One small product per head, in the memory order of the fused logits: taps last. As a product of plain matrices, of which the
    # second is a transpose, torch takes the gradient of the embedding seven times as fast as of a batch of them.
    if heads == 1:
        shift = rows.squeeze(1) @ embedding[0].to(rows.dtype).t()
    else:
        shift = torch.stack([one @ e.t() for one, e in zip(rows.unbind(1), embedding.to(rows.dtype), strict=True)], 1)
    return logits + shift.view(b, h, w, heads, taps).permute(0, 3, 4, 1, 2).to(logits.dtype)


def add_position(
    logits: Float[Tensor, "B heads P oH oW"], query: Float[Tensor, "B C oH oW"], embedding: Float[Tensor, "heads P d"]
) -> Float[Tensor, "B heads P oH oW"]:
    """Add to logits what a position embedding of the keys adds: query . (key + e) = query . key + query . e.

    Args:
        logits: the dot products of query and key for each of P taps.
        query: the high-resolution map of queries, of C = heads * d channels.
        embedding: the embedding of each tap.

    Returns:
        The logits of query and key + embedding.

    MACs: P per query value, class elementwise: what adding the embedding to every key costs.
    """
    return _add_position(logits, query, embedding)
