"""The backend "fused": ops that never hold what they read, on a CPU (`cpu`) and on CUDA (`triton`).

An op is one of `fused` where it has one, and a composition of these otherwise. Whole methods are one op on a CPU where no
gradient is recorded; elsewhere they are compositions in the memory order that the ops read without a copy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops import point_slope_gradient as _twice  # noqa: F401 # registers it
from upbench.ops.box import guided_filter_of_means
from upbench.ops.cell_attention import averaged_attention, dilated_attention
from upbench.ops.cpu import affinity_slope as _slope  # noqa: F401 # registers its gradient
from upbench.ops.cpu import cell_attention as _cells  # noqa: F401 # registers its kernels
from upbench.ops.cpu import difference_slope as _differences  # noqa: F401 # registers its gradient
from upbench.ops.cpu import local_similarity as _neighbours  # noqa: F401 # registers its kernels
from upbench.ops.cpu import normed_projection, squares
from upbench.ops.cpu import points as _points  # noqa: F401 # registers its kernels
from upbench.ops.cpu import windows as _windows  # noqa: F401 # registers its kernels
from upbench.ops.cpu.affinity import affinity_fused, pool_both
from upbench.ops.cpu.differences import paired_difference
from upbench.ops.cpu.guided_attention import guided_attend_fused, keys_and_offsets
from upbench.ops.cpu.moved_samples import sample_moved
from upbench.ops.cpu.normed_projection import normed_project_fused
from upbench.ops.cpu.offset_attention import offset_attend_fused
from upbench.ops.cpu.plane_rope import plane_rope
from upbench.ops.cpu.products import convolved, pointwise, slow_products, widens
from upbench.ops.cpu.reassembly import attend_window, can_project, project_fused, reassemble
from upbench.ops.cpu.steps import box_mean, guided_filter_fused, softmax_last
from upbench.ops.deformable import add_position, deform_assemble, deform_similarity
from upbench.ops.dispatch import Backend, autocasted, autocasts, no_autocast, record
from upbench.ops.fused import deform_assemble_fused, deform_similarity_fused, gate_fuse_fused_, gradient_rows
from upbench.ops.fused_limits import (
    AUTOCASTED,
    can_fuse_attention,
    slower,
    unsupported_call,
    unsupported_here,
    unsupported_tensors,
)
from upbench.ops.fused_local_similarity import local_similarity_fused
from upbench.ops.fused_windows import (
    mirrored_assemble,
    mirrored_similarity,
    sample_window_assemble,
    window_assemble,
    window_assemble_any,
    window_head_similarity,
    window_similarity,
)
from upbench.ops.layers import with_added
from upbench.ops.memory_layout import channels_last
from upbench.ops.offsets import grouped_convolution, offset_points, predict_points
from upbench.ops.registration import coordinate_dtype
from upbench.ops.resize import resize_map

ATTENTION = ("deform_similarity", "deform_assemble")
"""The ops that a whole attention stands for: those are written down as what ran."""


def sample_points(
    x: Float[Tensor, "B C H W"], points: Float[Tensor, "B G 1 oH oW 2"], padding: str
) -> Float[Tensor, "B C 1 oH oW"]:
    """Compute `ops.sample_points` of one point for each output pixel, as a sum without weights.

    Args:
        x: the low-resolution map.
        points: a position (x, y) for each of G groups of channels, in low-resolution pixels; G divides C.
        padding: what is read outside the map, as in `ops.sample_points`.
    """
    return deform_assemble_fused(x, None, points, padding).unsqueeze(2)


def gate_fuse(
    guide: Float[Tensor, "B C oH oW"], up: Float[Tensor, "B C oH oW"], gate: Float[Tensor, "B 1 oH oW"], reuse_up: bool
) -> Float[Tensor, "B C oH oW"]:
    """Compute `ops.gate_fuse` in the memory of `up`.

    Args:
        guide: the high-resolution guide.
        up: the upsampled map, which is written over.
        gate: the share of the guide at every pixel, from 0 to 1.
        reuse_up: whether `up` may be written over, which is so wherever this runs.
    """
    gate_fuse_fused_(guide, up, gate)
    return up


def guided_filter(
    guidance: Float[Tensor, "B C H W"], source: Float[Tensor, "B C H W"], radius: int, eps: float, subsample: int
) -> Float[Tensor, "B C H W"]:
    """Compute `ops.guided_filter`, with its arguments; where a gradient is recorded, of fused means."""
    if can_fuse_attention(guidance, source):
        return guided_filter_fused(guidance, source, radius, eps, subsample)
    return guided_filter_of_means(guidance, source, radius, eps, subsample, "fused")


def conv1x1(layer: nn.Conv2d, x: Float[Tensor, "B I H W"]) -> Float[Tensor, "B O H W"]:
    """Compute `ops.conv1x1` by a kernel of our own, or as a product of matrices."""
    if not autocasts(x) and can_project(layer, x):
        return project_fused(x, layer.weight, layer.bias)
    # A contiguous map enters the product transposed: it is never copied into the other memory order.
    rows, weight, bias = x.flatten(2).transpose(1, 2), layer.weight.flatten(1), layer.bias
    if slow_products(x) and not autocasts(x):
        out = F.linear(rows.float(), weight.float(), None if bias is None else bias.float()).to(x.dtype)
    else:
        out = F.linear(rows, weight, bias)
    return out.unflatten(1, (x.shape[2], x.shape[3])).permute(0, 3, 1, 2)


def normed_conv1x1(
    norm: nn.Module, layer: nn.Conv2d, x: Float[Tensor, "B I H W"], wide: bool = False
) -> Float[Tensor, "B O H W"]:
    """Compute `ops.normed_conv1x1`: a group norm is part of the convolution where no gradient is recorded."""
    dtype = coordinate_dtype(x.dtype) if wide and not autocasts(x) and widens(x) else x.dtype
    if isinstance(norm, nn.GroupNorm) and norm.affine and layer.groups == 1 and not autocasts(x):
        learned = [t for t in (norm.weight, norm.bias, layer.weight, layer.bias) if t is not None]
        values = x.shape[1] // norm.num_groups * x.shape[2] * x.shape[3]
        plain = can_fuse_attention(x, *learned) or x.dtype == coordinate_dtype(x.dtype)
        if values > 1 and plain and normed_projection.can_run(x, *learned):
            numbers = (norm.num_groups, norm.eps)
            out = normed_project_fused(x, norm.weight, norm.bias, layer.weight, layer.bias, *numbers)
            return out if out.dtype == dtype else out.to(dtype)
    out = conv1x1(layer, norm(x)).contiguous()
    return out.to(dtype) if wide and not autocasts(x) else out


def convolution(
    layer: nn.Module, x: Float[Tensor, "B I H W"], added: Float[Tensor, "B O h w"] | None = None
) -> Float[Tensor, "B O oH oW"]:
    """Compute `ops.convolution`: 3x3 taps by a kernel of our own where no gradient is recorded."""
    learned = [t for t in (*layer.parameters(), added) if t is not None]
    if not autocasts(x) and can_fuse_attention(x, *learned) and squares.can_run(layer, x, added):
        given = (x, layer.weight, layer.bias, added)
        if slow_products(x):
            return squares.convolve_fused(*(None if t is None else t.float() for t in given)).to(x.dtype)
        return squares.convolve_fused(*given)
    return with_added(convolved(layer, x), added)


def softmax_over_taps(logits: Float[Tensor, "*shape"], dim: int) -> Float[Tensor, "*shape"]:
    """Compute `ops.softmax_over_taps` with the taps last in memory where the fused ops have them there."""
    if not channels_last(logits.device):
        return logits.softmax(dim)
    return softmax_last(logits.movedim(dim, -1)).movedim(-1, dim)


def kernel_affinity(
    guide: Float[Tensor, "B C iH iW"],
    first: Any,
    second: Any,
    first_norm: Any,
    second_norm: Any,
    pattern: Any,
) -> Float[Tensor, "B T H W"]:
    """Compute `ops.kernel_affinity` from two readings of the guide, without a map of its size; in at least float32.

    Args:
        guide: the high-resolution map, of 2H x 2W pixels.
        first, second: pooling to k x k and a 1x1 convolution to a filter.
        first_norm, second_norm: group norm and leaky rectifier of what the filters give.
        pattern: pooling to a point and a 1x1 convolution to T channels.
    """
    grid, point = pool_both(guide, first[0].output_size)
    filters = torch.cat((first[1](grid), second[1](grid)), 1)
    norm, slope = first_norm[0], first_norm[1].negative_slope
    norms = (norm, second_norm[0])
    scale, shift = (torch.stack([n.get_parameter(k) for n in norms], 1) for k in ("weight", "bias"))
    return affinity_fused(guide, filters, scale, shift, pattern[1](point), norm.num_groups, norm.eps, slope)


def offset_attention(
    x: Float[Tensor, "B C H W"],
    norm: Any,
    query: nn.Conv2d,
    key: nn.Conv2d,
    predictor: nn.Sequential,
    embedding: Float[Tensor, "{heads} T d"] | None,
    theta: float,
    in_input_pixels: bool,
    heads: int,
    size: tuple[int, int],
) -> Float[Tensor, "B C {size[0]} {size[1]}"]:
    """Compute `ops.offset_attention`, with its arguments, in one op where no gradient is recorded on a CPU.

    Elsewhere the channels of every map and the taps of every weight are kept last in memory.
    """
    outer: Any = norm.norm
    layers, inner_eps = _predictor(predictor)
    factor = (query.out_channels // heads) ** -0.5
    learned = [t for t in (outer.weight, outer.bias, query.weight, key.weight, *layers, embedding) if t is not None]
    if can_fuse_attention(x, *learned):
        for op in ATTENTION:
            record(op, "fused")
        projections = (outer.weight, outer.bias, query.weight, key.weight)
        numbers = (outer.eps, inner_eps, theta, in_input_pixels, heads, factor, *size)
        return offset_attend_fused(x, *projections, *layers, embedding, *numbers)
    x = gradient_rows(x)
    dtype = coordinate_dtype(x.dtype)
    with no_autocast(x):
        normed = norm.rows(x.permute(0, 2, 3, 1).to(dtype))
        joint = x.dtype == dtype and not autocasts(x)
        weight = torch.cat((query.weight, key.weight)) if joint else query.weight
        split = pointwise(normed, weight.flatten(1).to(dtype)).permute(0, 3, 1, 2).split(query.out_channels, 1)
        queries = resize_map(split[0], *size, align_corners=True)
        convolve = squares.grouped if x.device.type == "cpu" else grouped_convolution
        points = predict_points(queries, *layers, inner_eps, theta, in_input_pixels, x.shape[2], x.shape[3], convolve)
    # What is read is of the dtype of x, the points are not.
    keys = split[1] if joint else F.linear(normed.to(x.dtype), key.weight.flatten(1)).permute(0, 3, 1, 2)
    queries = queries.to(keys.dtype)
    logits = deform_similarity(queries, keys, points, "zeros", heads, backend="fused")
    if embedding is not None:
        logits = add_position(logits, queries, embedding)
    weights = softmax_over_taps(logits * factor, 2).to(x.dtype)
    return deform_assemble(x, weights, points, "zeros", backend="fused")


def _predictor(layers: Any) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor, Tensor], float]:
    """The parameters of a predictor as `predict_points` takes them: first convolution, norm, last convolution; and eps."""
    first, norm, _, last = layers
    return (first.weight, norm.norm.weight, norm.norm.bias, last.weight, last.bias), norm.norm.eps


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
) -> Float[Tensor, "B C {scale}*H {scale}*W"]:
    """Compute `ops.guided_attention`, with its arguments.

    Keys and offsets are one product of matrices, the rest one op where no gradient is recorded.
    """
    keys, offsets = keys_and_offsets(normed, key, offset, groups, scale * scale if each else 1)
    if can_fuse_attention(x, keys, guide, query.weight):
        for op in ATTENTION:
            record(op, "fused")
        return guided_attend_fused(x, keys, guide, query.weight, query.bias, offsets, scale, groups)
    points = offset_points(offsets, scale)
    logits = deform_similarity(conv1x1(query, guide), keys, points, "zeros", groups, backend="fused")
    weights = softmax_over_taps(logits, 2).to(x.dtype)
    return deform_assemble(x, weights, points, "zeros", backend="fused")


# Op -> its form, and how many of its first arguments are maps and weights that must have one dtype and device: whatever
# it takes but positions, which are always float32 or float64.
FORMS: dict[str, tuple[Callable[..., Any], int]] = {
    "window_assemble": (window_assemble, 2),
    "window_similarity": (window_similarity, 2),
    "nearby_assemble": (window_assemble_any, 2),
    "nearby_similarity": (window_head_similarity, 2),
    "mirrored_assemble": (mirrored_assemble, 2),
    "mirrored_similarity": (mirrored_similarity, 1),
    "neighbour_assemble": (sample_window_assemble, 1),
    "sample_points": (sample_points, 1),
    "local_similarity": (local_similarity_fused, 1),
    "deform_assemble": (deform_assemble_fused, 2),
    "deform_similarity": (deform_similarity_fused, 2),
    "averaged_attention": (averaged_attention, 3),
    "plane_rope": (plane_rope, 1),
    "dilated_attention": (dilated_attention, 3),
    "offset_attention": (offset_attention, 1),
    "guided_attention": (guided_attention, 1),
    "sample_moved": (sample_moved, 1),
    "kernel_affinity": (kernel_affinity, 1),
    "reassemble": (reassemble, 4),
    "attend_window": (attend_window, 3),
    "gate_fuse": (gate_fuse, 3),
    "box_mean": (box_mean, 1),
    "guided_filter": (guided_filter, 2),
    "paired_difference": (paired_difference, 2),
    "conv1x1": (conv1x1, 2),
    "normed_conv1x1": (normed_conv1x1, 3),
    "convolution": (convolution, 2),
    "softmax_over_taps": (softmax_over_taps, 1),
}


def unsupported_reason(op: str, *args: Any) -> str | None:
    """Say why the fused form of an op cannot run on some arguments.

    Args:
        op: the name of an op in `FORMS`.
        args: the arguments of the op, without `backend`.

    Returns:
        The reason as half a sentence, or None where it can run.
    """
    tensors = [t for t in args[: FORMS[op][1]] if isinstance(t, Tensor)]
    if op in AUTOCASTED and autocasts(tensors[0]):
        tensors = list(autocasted(*tensors))
    return unsupported_tensors(tensors) or unsupported_here(op, tensors[0]) or unsupported_call(op, args)


BACKEND = Backend({op: form for op, (form, _) in FORMS.items()}, unsupported_reason, slower)
