"""Sampling at points and what comes after it in one op: compared with a query, or weighed and summed; and whole attention.

The eager forms are compositions of `sample_points` with `point_similarity` and `point_assemble`; a backend need not hold
what was read, which is as large as the output times the number of points.
"""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from upbench.ops.dispatch import compute, no_autocast
from upbench.ops.layers import conv1x1, softmax_over_taps
from upbench.ops.offsets import child_points, points_around
from upbench.ops.points import point_assemble, point_similarity, sample_points
from upbench.ops.registration import coordinate_dtype, numel, register
from upbench.ops.resize import resize_map


def deform_similarity(
    query: Tensor, keys: Tensor, points: Tensor, padding: str, heads: int, *, backend: str = "eager"
) -> Tensor:
    """Dot product of each query with the keys at its points.

    query: [B, C, H', W']; keys: [B, C, H, W]; points: [B, G, P, H', W', 2], in low-resolution pixels, G and heads
    divide C -> [B, heads, P, H', W']. padding: as `sample_points`.
    backend: eager, fused (on a CPU the points of the result lie last in memory) or auto.
    MACs: 5 per value read (4 to sample, 1 to compare), class gather. Raises BackendError.
    """
    return compute("deform_similarity", backend, _deform_similarity, query, keys, points, padding, heads)


def _deform_similarity(query: Tensor, keys: Tensor, points: Tensor, padding: str, heads: int) -> Tensor:
    return point_similarity(query, sample_points(keys, points, padding), heads)


def deform_assemble(x: Tensor, weight: Tensor, points: Tensor, padding: str, *, backend: str = "eager") -> Tensor:
    """Weighted sum of the values at each output pixel's points.

    x: [B, C, H, W]; weight: [B, heads, P, H', W']; points: [B, G, P, H', W', 2], in low-resolution pixels, G and heads
    divide C -> [B, C, H', W']. padding: as `sample_points`.
    backend: eager, fused (on a CPU the result is channels-last) or auto.
    MACs: 5 per value read (4 to sample, 1 to weigh), class gather. Raises BackendError.
    """
    return compute("deform_assemble", backend, _deform_assemble, x, weight, points, padding)


def _deform_assemble(x: Tensor, weight: Tensor, points: Tensor, padding: str) -> Tensor:
    return point_assemble(weight, sample_points(x, points, padding))


def offset_attention(
    x: Tensor,
    norm: nn.Module,
    query: nn.Conv2d,
    key: nn.Conv2d,
    predictor: nn.Sequential,
    embedding: Tensor | None,
    theta: float,
    in_input_pixels: bool,
    heads: int,
    size: tuple[int, int],
    *,
    backend: str = "eager",
) -> Tensor:
    """Attention of an interpolated query over points around each output pixel, moved by predicted offsets.

    out[p] = sum over taps t of softmax_t(query(p) . (key(s_t) + embedding_t) / sqrt(d)) * x(s_t), zero outside the map,
    s = `points_around`(predictor, query). x: [B, C, H, W] -> [B, C, size].
    norm: a layer norm over the channels whose child `norm` holds its numbers; query, key: 1x1 convolutions C to heads d
    without bias, of the normed x; the query is interpolated to `size`, corner on corner. predictor: see `points_around`.
    embedding: [heads, taps, d], added to the keys, or None. backend: of `deform_assemble` and its like; fused takes all
    of it in one op on a CPU where no gradient is recorded, and is channels-last there.
    The query and the points are at least float32, whatever the dtype of x and autocast.
    MACs: those of the ops it stands for. Source: LDA-AQU, eq. 6-11. Raises BackendError.
    """
    eager = partial(_offset_attention, backend)
    given = (x, norm, query, key, predictor, embedding, theta, in_input_pixels, heads, size)
    return compute("offset_attention", backend, eager, *given, optional=True)


def _offset_attention(
    backend: str,
    x: Tensor,
    norm: nn.Module,
    query: nn.Conv2d,
    key: nn.Conv2d,
    predictor: nn.Sequential,
    embedding: Tensor | None,
    theta: float,
    in_input_pixels: bool,
    heads: int,
    size: tuple[int, int],
) -> Tensor:
    # The query decides where is read, and theta makes eleven pixels of its rounding: it is float32 in any dtype.
    with no_autocast(x):
        normed = norm(x.to(coordinate_dtype(x.dtype)))
        queries = resize_map(query(normed), *size, align_corners=True)
        points = points_around(predictor, queries, theta, in_input_pixels, x.shape[2], x.shape[3])
    keys = sample_points(key(normed.to(x.dtype)), points, "zeros")
    if embedding is not None:
        # [heads, taps, d] -> [heads d, taps, 1, 1]
        keys = keys + embedding.transpose(1, 2).flatten(0, 1)[..., None, None]
    logits = point_similarity(queries.to(keys.dtype), keys, heads) * (queries.shape[1] // heads) ** -0.5
    weights = F.softmax(logits, dim=2).to(x.dtype)
    return deform_assemble(x, weights, points, "zeros", backend=backend)


def guided_attention(
    x: Tensor,
    normed: Tensor,
    guide: Tensor,
    query: nn.Conv2d,
    key: nn.Conv2d,
    offset: nn.Conv2d,
    scale: int,
    groups: int,
    each: bool,
    *,
    backend: str = "eager",
) -> Tensor:
    """Attention of a projected guide over points that are offsets away from each output pixel's parent.

    out[p] = sum over points t of softmax_t(query(guide)(p) . key(normed)(s_t)) * x(s_t), zero outside the map, no
    1 / sqrt(d); s = `child_points`(offset(normed)), of each group its own.
    x, normed: [B, C, H, W]; guide: [B, Cy, sH, sW]; query, key: 1x1 convolutions to groups d; offset: to 2 groups taps,
    times s^2 with `each`, where every sub-pixel has its own -> [B, C, sH, sW]. backend: as in `offset_attention`.
    MACs: those of the ops it stands for. Source: SAPA-D, eq. 8. Raises BackendError.
    """
    eager = partial(_guided_attention, backend)
    return compute(
        "guided_attention", backend, eager, x, normed, guide, query, key, offset, scale, groups, each, optional=True
    )


def _guided_attention(
    backend: str,
    x: Tensor,
    normed: Tensor,
    guide: Tensor,
    query: nn.Conv2d,
    key: nn.Conv2d,
    offset: nn.Conv2d,
    scale: int,
    groups: int,
    each: bool,
) -> Tensor:
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
def _add_position(logits: Tensor, query: Tensor, embedding: Tensor) -> Tensor:
    b, _, h, w = query.shape
    heads, taps, d = embedding.shape
    rows = query.permute(0, 2, 3, 1).reshape(b * h * w, heads, d)
    # One small product per head, in the memory order of the fused logits: taps last.
    shift = (rows.transpose(0, 1) @ embedding.to(rows.dtype).transpose(1, 2)).transpose(0, 1)
    return logits + shift.view(b, h, w, heads, taps).permute(0, 3, 4, 1, 2)


def add_position(logits: Tensor, query: Tensor, embedding: Tensor) -> Tensor:
    """Logits of keys without an embedding, as they are with it: query . (key + e) = query . key + query . e.

    logits: [B, heads, P, H', W']; query: [B, C, H', W']; embedding: [heads, P, C / heads] -> as logits.
    MACs: P per query value, class elementwise: what adding the embedding to every key costs.
    """
    return _add_position(logits, query, embedding)
