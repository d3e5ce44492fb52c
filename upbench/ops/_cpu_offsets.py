"""LDA-AQU's attention together with the points that it predicts, on the CPU, without gradients.

The C kernel interpolates the query, predicts the offsets and attends a tile of output pixels at a time: nothing of the
output's size is held but the result. Without it the same is made of `predicted_points` and `deform_attend`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from upbench.ops import _cpu_attend, _native
from upbench.ops._fused import empty_map
from upbench.ops._library import LIBRARY, OPS, Op
from upbench.ops.offsets import predicted_points
from upbench.ops.resize import resize_map

NAME = "offset_attend_fused"
LIBRARY.define(
    f"{NAME}(Tensor x, Tensor keys, Tensor query, Tensor first, Tensor gamma, Tensor beta, Tensor last, Tensor bias,"
    " Tensor? embedding, float eps, float theta, bool inward, int heads, float factor, SymInt out_height,"
    " SymInt out_width) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
offset_attend_fused: Any = torch.ops.upbench.offset_attend_fused.default


def _charge(shapes: Sequence[Sequence[int]], args: Sequence[Any]) -> dict[str, int]:
    """MACs of each plain op that it stands for. shapes: x, keys, query, first, gamma, beta, last, bias, (embedding,)
    output."""
    (b, depth), first, last, out = shapes[2][:2], shapes[3], shapes[6], shapes[-1]
    pixels, groups, taps, side = b * out[2] * out[3], depth // first[0], last[0] // 2, last[-1]
    query, coordinates = pixels * depth, pixels * groups * 2 * taps
    points = [b, groups, taps, out[2], out[3], 2]
    attended = _cpu_attend.charge([*shapes[:2], [b, depth, *out[2:]], *shapes[8:-1], points, out], args[:-2])
    lattice = 2 * out[2] * out[3]
    inward = args[-5]
    arithmetic = {
        # Times theta, on the map and off it again; tap, pixel.
        "aten::mul": coordinates + (lattice if inward else coordinates),
        "aten::div": lattice if inward else coordinates,
        "aten::add": 2 * coordinates,
        "aten::sub": 2 * taps,
        "aten::tanh": coordinates,
        "aten::gelu": query,
    }
    for name, macs in arithmetic.items():
        attended[name] = attended.get(name, 0) + macs
    return attended | {
        "upbench::resize_map": 4 * query,
        "aten::_convolution": query * 9 + coordinates * first[0] * side * side,
        "aten::layer_norm": 5 * query,
    }


OPS[f"upbench::{NAME}"] = Op(
    f"upbench::{NAME}", "gather", lambda shapes, args: sum(_charge(shapes, args).values()), _charge
)


def attend(
    x: Tensor,
    keys: Tensor,
    query: Tensor,
    first: Tensor,
    gamma: Tensor,
    beta: Tensor,
    last: Tensor,
    bias: Tensor,
    embedding: Tensor | None,
    eps: float,
    theta: float,
    inward: bool,
    heads: int,
    factor: float,
    out_height: int,
    out_width: int,
) -> Tensor:
    if _native.runs(x, keys, query):
        layers = _native.layers(first, gamma, beta, last, bias, query.dtype)
        groups, taps, kernel = query.shape[1] // first.shape[0], last.shape[0] // 2, last.shape[-1]
        points = _native.Predicted(out_height, out_width, groups, taps, kernel, theta, eps, inward, layers)
        return _native.attend_predicted(x, keys, query, embedding, points, heads, factor)
    with torch.autocast("cpu", enabled=False):
        query = resize_map(query, out_height, out_width, align_corners=True)
        where = predicted_points(query, first, gamma, beta, last, bias, eps, theta, inward, *x.shape[2:])
        return _cpu_attend.attend(x, keys, query.to(keys.dtype), embedding, where, "zeros", heads, factor)


@torch.library.register_fake(f"upbench::{NAME}", lib=LIBRARY)
def _(x: Tensor, *others: Any) -> Tensor:
    return empty_map(x, x.shape[0], x.shape[1], *others[-2:])


LIBRARY.impl(NAME, attend, "CPU")
