"""All of LDA-AQU on the CPU, without gradients.

The map is normed and projected by a C kernel, or a strip at a time where that does not take it; another one interpolates the query, predicts the offsets and attends a
tile of output pixels at a time. Nothing of the output's size is held but the result, and of the map's size its rows,
queries and keys. Without the kernel the same is made of `predict_points` and `attention`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from upbench.ops import thresholds
from upbench.ops.cpu import attention, layer_numbers, native, normed
from upbench.ops.cpu.products import pointwise
from upbench.ops.cpu.value_slices import value_slices
from upbench.ops.memory_layout import empty_map, on_huge_pages
from upbench.ops.offsets import predict_points
from upbench.ops.registration import LIBRARY, coordinate_dtype, declare, numel
from upbench.ops.resize import resize_map

NAME = "offset_attend_fused"
LIBRARY.define(
    f"{NAME}(Tensor x, Tensor scale, Tensor shift, Tensor query, Tensor key, Tensor first, Tensor gamma, Tensor beta,"
    " Tensor last, Tensor bias, Tensor? embedding, float outer_eps, float eps, float theta, bool in_input_pixels, int heads,"
    " float factor, SymInt out_height, SymInt out_width) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
offset_attend_fused: Any = torch.ops.upbench.offset_attend_fused.default


STRIP = 2**20
"""Values of the map that are normed and projected at a time."""


def _charge(shapes: Sequence[Sequence[int]], args: Sequence[Any]) -> dict[str, int]:
    """MACs of each plain op that it stands for, from the shapes of its tensors, in order, and of its output."""
    x, depth, first, last, out = shapes[0], shapes[3][0], shapes[5], shapes[8], shapes[-1]
    pixels, groups, taps, side = x[0] * out[2] * out[3], depth // first[0], last[0] // 2, last[-1]
    query, coordinates = pixels * depth, pixels * groups * 2 * taps
    keys, queries = [x[0], depth, *x[2:]], [x[0], depth, *out[2:]]
    points = [x[0], groups, taps, *out[2:], 2]
    charges = attention.charge([x, keys, queries, *shapes[10:-1], points, out], args[:-2])
    in_input_pixels, lattice = args[-5], 2 * out[2] * out[3]
    arithmetic = {
        # Times theta, on the map and off it again; tap, pixel.
        "aten::mul": coordinates + (lattice if in_input_pixels else coordinates),
        "aten::div": lattice if in_input_pixels else coordinates,
        "aten::add": 2 * coordinates,
        "aten::sub": 2 * taps,
        "aten::tanh": coordinates,
        "aten::gelu": query,
    }
    for name, macs in arithmetic.items():
        charges[name] = charges.get(name, 0) + macs
    return charges | {
        "upbench::resize_map": 4 * query,
        "aten::_convolution": 2 * depth * numel(x) + query * 9 + coordinates * first[0] * side * side,
        "aten::layer_norm": 5 * (numel(x) + query),
    }


declare(NAME, "gather", _charge)


def attend(
    x: Float[Tensor, "B C H W"],
    scale: Float[Tensor, " C"],
    shift: Float[Tensor, " C"],
    query: Float[Tensor, "d C 1 1"],
    key: Float[Tensor, "d C 1 1"],
    first: Float[Tensor, "g 1 3 3"],
    gamma: Float[Tensor, " g"],
    beta: Float[Tensor, " g"],
    last: Float[Tensor, "T2 g k_e k_e"],
    bias: Float[Tensor, " T2"],
    embedding: Float[Tensor, "{heads} T e"] | None,
    outer_eps: float,
    eps: float,
    theta: float,
    in_input_pixels: bool,
    heads: int,
    factor: float,
    out_height: int,
    out_width: int,
) -> Float[Tensor, "B C {out_height} {out_width}"]:
    """Compute `ops.offset_attention` from the parameters of its layers.

    Args:
        x: the low-resolution map.
        scale: factors of the layer norm of x.
        shift: shifts of the same.
        query: kernel of the 1x1 convolution for the query.
        key: kernel of the 1x1 convolution for the keys.
        first: kernel of the predictor's depthwise convolution.
        gamma: factors of its layer norm.
        beta: shifts of the same.
        last: kernel of its last convolution, to (y, x) of each tap.
        bias: bias of the same.
        embedding: added to the keys of each tap, or None.
        outer_eps: of the layer norm of x.
        eps: of the predictor's layer norm.
        theta: bound of the offsets in pixels.
        in_input_pixels: whether taps and theta are measured in low-resolution pixels, not in output pixels.
        heads: attention heads.
        factor: of the logits.
        out_height: rows of the output.
        out_width: columns of the output.

    Returns:
        The weighted sums, channels-last.
    """
    dtype = coordinate_dtype(x.dtype)
    scale, shift, query = (t.to(dtype) for t in (scale, shift, query.flatten(1)))
    if native.can_run_native(x, half=True):
        with torch.autocast("cpu", enabled=False):
            weight = torch.cat((query, key.flatten(1).to(dtype)))
            groups, taps, kernel = query.shape[0] // first.shape[0], last.shape[0] // 2, last.shape[-1]
            blocks = math.lcm(groups, heads)
            pairs = normed.by_pairs(x, query.shape[0], blocks)
            wide = x if pairs else x.to(dtype)
            if normed.can_run(wide, query.shape[0], blocks):
                own = native.value_dtype(x, blocks) != dtype  # values that are read as they are given
                made, queries, keys = normed.run(wide, scale, shift, outer_eps, weight, blocks, pairs or not own)
                values = value_slices(x, blocks) if made is None else made
            else:
                values, rows = _projected(x, scale, shift, outer_eps, weight)
                queries, keys = rows.split(query.shape[0], 1)
            del wide, weight
            layers = layer_numbers.layers(first, gamma, beta, last, bias, dtype)
            halves = layer_numbers.pairs(last) if pairs else None
        points = native.Predicted(
            out_height, out_width, groups, taps, kernel, theta, eps, in_input_pixels, layers, halves
        )
        return native.attend_predicted(values, keys, queries, embedding, points, heads, factor, x.dtype)
    with torch.autocast("cpu", enabled=False):
        rows = F.layer_norm(x.permute(0, 2, 3, 1).to(dtype), shift.shape, scale, shift, outer_eps)
        queries = F.linear(rows, query).permute(0, 3, 1, 2)
        queries = resize_map(queries, out_height, out_width, align_corners=True)
        where = predict_points(queries, first, gamma, beta, last, bias, eps, theta, in_input_pixels, *x.shape[2:])
    keys = F.linear(rows.to(x.dtype), key.flatten(1)).permute(0, 3, 1, 2)
    return attention.attend(x, keys, queries.to(keys.dtype), embedding, where, "zeros", heads, factor)


def _projected(
    x: Float[Tensor, "B C H W"],
    scale: Float[Tensor, " C"],
    shift: Float[Tensor, " C"],
    eps: float,
    weight: Float[Tensor, "O C"],
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B O H W"]]:
    """x channels-last, and the product of its layer norm over the channels with weight, likewise, in the dtype of weight."""
    b, c, h, w = x.shape
    given = x.permute(0, 2, 3, 1)
    ready = given.is_contiguous() and x.dtype == weight.dtype
    rows = given if ready else on_huge_pages(weight.new_empty((b, h, w, c)))
    out = weight.new_empty((b, h, w, weight.shape[0]))
    step = max(thresholds.scaled(STRIP) // (w * c), 1)
    for image in range(b):
        for top in range(0, h, step):
            strip = rows[image, top : top + step]
            if not ready:
                strip.copy_(given[image, top : top + step])
            norm = F.layer_norm(strip, shift.shape, scale, shift, eps)
            out[image, top : top + step] = pointwise(norm.unsqueeze(0), weight)[0]
    return rows.permute(0, 3, 1, 2), out.permute(0, 3, 1, 2)


@torch.library.register_fake(f"upbench::{NAME}", lib=LIBRARY)
def _(x: Tensor, *others: Any) -> Tensor:
    return empty_map(x, x.shape[0], x.shape[1], *others[-2:])


LIBRARY.impl(NAME, attend, "CPU")
