"""Sampling at points and what comes after it in one op: compared with a query, or weighed and summed.

The eager forms are compositions of `sample_points` with `point_similarity` and `point_assemble`; the fused ones never
hold what was read, which is as large as the output times the number of points.
"""

from __future__ import annotations

import torch
from torch import Tensor

from upbench.ops._why_not import resolve
from upbench.ops.cpu.guided_attention import guided_attend_fused
from upbench.ops.cpu.offset_attention import offset_attend_fused
from upbench.ops.fused import deform_assemble_fused, deform_similarity_fused
from upbench.ops.points import point_assemble, point_similarity, sample_points
from upbench.ops.registration import numel, register


def deform_similarity(
    query: Tensor, keys: Tensor, points: Tensor, padding: str, heads: int, *, backend: str = "eager"
) -> Tensor:
    """Dot product of each query with the keys at its points.

    query: [B, C, H', W']; keys: [B, C, H, W]; points: [B, G, P, H', W', 2], in low-resolution pixels, G and heads
    divide C -> [B, heads, P, H', W']. padding: as `sample_points`.
    backend: eager, fused (on a CPU the points of the result lie last in memory) or auto.
    MACs: 5 per value read (4 to sample, 1 to compare), class gather. Raises BackendError.
    """
    if resolve("deform_similarity", backend, query, keys) == "fused":
        return deform_similarity_fused(query, keys, points, padding, heads)
    return point_similarity(query, sample_points(keys, points, padding), heads)


def deform_assemble(x: Tensor, weight: Tensor, points: Tensor, padding: str, *, backend: str = "eager") -> Tensor:
    """Weighted sum of the values at each output pixel's points.

    x: [B, C, H, W]; weight: [B, heads, P, H', W']; points: [B, G, P, H', W', 2], in low-resolution pixels, G and heads
    divide C -> [B, C, H', W']. padding: as `sample_points`.
    backend: eager, fused (on a CPU the result is channels-last) or auto.
    MACs: 5 per value read (4 to sample, 1 to weigh), class gather. Raises BackendError.
    """
    if resolve("deform_assemble", backend, x, weight) == "fused":
        return deform_assemble_fused(x, weight, points, padding)
    return point_assemble(weight, sample_points(x, points, padding))


def attends(*tensors: Tensor) -> bool:
    """Whether an attention in one op can take these: on a CPU, where no gradient is asked for."""
    recording = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    return tensors[0].device.type == "cpu" and not recording


def offset_attend(
    x: Tensor,
    norm: tuple[Tensor, Tensor, float],
    projections: tuple[Tensor, Tensor],
    predictor: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    embedding: Tensor | None,
    eps: float,
    theta: float,
    inward: bool,
    heads: int,
    factor: float,
    size: tuple[int, int],
) -> Tensor:
    """Attention over `predicted_points`, zero outside the map, of query and keys that are projections of x, to x.

    That is `deform_assemble` of x by the softmax over the points of `deform_similarity`, in one op where `attends`
    allows it. The result is channels-last. MACs: those of the ops it stands for.

    norm: weight, bias and eps of a layer norm over the channels of x; projections: what makes the query and the keys
    of the normed x, [d, C, 1, 1] each; the query is interpolated to `size`, corner on corner. predictor: `first`,
    `gamma`, `beta`, `last` and `bias` of `predicted_points`, and eps, theta, inward as there. embedding:
    [heads, P, d / heads], added to the keys, or None; factor: of the logits.
    """
    for op in ("deform_similarity", "deform_assemble"):
        resolve(op, "fused", x)
    scale, shift, outer_eps = norm
    weights = (*projections, *predictor, embedding)
    return offset_attend_fused(x, scale, shift, *weights, outer_eps, eps, theta, inward, heads, factor, *size)


def guided_attend(
    x: Tensor, keys: Tensor, guide: Tensor, weight: Tensor, bias: Tensor | None, offsets: Tensor, scale: int, heads: int
) -> Tensor:
    """As `offset_attend`, over `moved_points`, of the query that a pointwise convolution of the guide is.

    keys: [B, d, H, W]; guide: [B, Cy, sH, sW]; weight: [d, Cy, 1, 1], with its bias [d] or None; offsets: as
    `moved_points`.
    """
    for op in ("deform_similarity", "deform_assemble"):
        resolve(op, "fused", x)
    return guided_attend_fused(x, keys, guide, weight, bias, offsets, scale, heads)


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
