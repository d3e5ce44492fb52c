"""Convolutions with 3x3 taps by the C kernel (`csrc/squares.h`), two by two outputs at a time, where no gradient is recorded.

It takes 4 products for an output and channel where oneDNN takes 9 (Winograd's F(2x2, 3x3); Lavin and Gray, CVPR 2016), and errs
less: it sums fewer numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops import thresholds
from upbench.ops.cpu import map_kernels, native, structs, window_kernels
from upbench.ops.cpu.layer_numbers import square_sums
from upbench.ops.memory_layout import empty_map
from upbench.ops.registration import LIBRARY, OPS, Op, numel

Squares = structs.struct(
    "Squares",
    **dict.fromkeys(("x", "weights", "added", "out"), structs.ADDRESS),
    **dict.fromkeys(("height", "width", "channels", "outputs", "ratio", "dtype"), structs.COUNT),
)
FEWEST_PRODUCTS = 2**26
"""Products of an image from which the kernel is faster: below that the call and the sums of the taps take longer."""
FEWEST_PIXELS = 2**10
"""Pixels of an image, beside which the sums of the taps are little work."""
SLOWEST_LANES = 8
"""Lanes of vectors without which oneDNN is faster."""
BARE = {
    "stride": (1, 1),
    "padding": (1, 1),
    "dilation": (1, 1),
    "groups": 1,
    "padding_mode": "zeros",
    "kernel_size": (3, 3),
}
"""What a convolution must be."""

LIBRARY.define(
    "convolve_fused(Tensor x, Tensor weight, Tensor? bias, Tensor? added) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
convolve_fused: Any = torch.ops.upbench.convolve_fused.default


def can_run(layer: nn.Module, x: Tensor, added: Tensor | None) -> bool:
    """Return whether the kernel takes a convolution, and is faster than torch.

    Args:
        layer: the convolution.
        x: the map.
        added: a map whose pixels are added to all those within them, or None.
    """
    if type(layer) is not nn.Conv2d or any(getattr(layer, name) != value for name, value in BARE.items()):
        return False
    given = [t for t in (x, layer.weight, layer.bias, added) if t is not None]
    (h, w), (outputs, channels), lanes = x.shape[2:], layer.weight.shape[:2], native.LANES
    if not map_kernels.can_run_native(*given) or lanes < SLOWEST_LANES or channels % lanes or x.dim() != 4:
        return False
    if added is not None and (ratio_of(x, added) == 0 or added.shape[1] != outputs):
        return False
    padded = -(-outputs // lanes) * lanes
    enough = h * w * outputs * channels * 9 >= thresholds.scaled(FEWEST_PRODUCTS)
    return enough and h * w >= thresholds.scaled(FEWEST_PIXELS) and 4 * outputs >= 3 * padded


def ratio_of(x: Tensor, added: Tensor) -> int:
    """How many times as large each side of x is as that of `added`; 0 if it is no whole number, or not the same."""
    ratio = x.shape[2] // max(added.shape[2], 1)
    same = tuple(x.shape[2:]) == (ratio * added.shape[2], ratio * added.shape[3])
    return ratio if same and len(x) == len(added) else 0


def _charge(shapes: Sequence[Sequence[int]], args: Sequence[Any]) -> dict[str, int]:
    """MACs of each plain op that it stands for. shapes: x, weight, what is given of bias and added, output."""
    out, weight = shapes[-1], shapes[1]
    charges = {"aten::_convolution": numel(out) * weight[1] * 9}
    return charges | ({"aten::add": numel(out)} if len(shapes[-2]) == 4 and len(shapes) > 3 else {})


OPS["upbench::convolve_fused"] = Op(
    "upbench::convolve_fused", "conv", lambda shapes, args: sum(_charge(shapes, args).values()), _charge
)


def convolve(
    x: Float[Tensor, "B I H W"],
    weight: Float[Tensor, "O I 3 3"],
    bias: Float[Tensor, " O"] | None,
    added: Float[Tensor, "B O h w"] | None,
) -> Float[Tensor, "B O H W"]:
    """Convolve a map, zeros around it, and add a smaller one.

    Args:
        x: the map.
        weight: the taps.
        bias: added to every pixel, or None.
        added: a map whose pixels are added to all those within them, or None.

    Returns:
        The sums, channels-last.
    """
    (b, channels, h, w), outputs = x.shape, len(weight)
    rows, out = window_kernels.map_rows(x).contiguous(), empty_map(x, b, outputs, h, w)
    smaller = None if added is None else added.permute(0, 2, 3, 1).contiguous()
    numbers = _numbers(weight, bias)
    job = Squares(height=h, width=w, channels=channels, outputs=outputs, weights=numbers.data_ptr())
    job.ratio, job.dtype = 1 if added is None else ratio_of(x, added), map_kernels.DTYPES.index(x.dtype)
    for image in range(b):
        job.x, job.out = native.address(rows, image), native.address(out.permute(0, 2, 3, 1), image)
        job.added = native.address(smaller, image)
        map_kernels.run("squares", job, math.ceil(h / 2), 1)
    return out


def _numbers(weight: Tensor, bias: Tensor | None) -> Tensor:
    """The 16 sums of the taps, [16, outputs / lanes, channels, lanes], then the bias, as the kernel reads them."""
    rest = -len(weight) % native.LANES
    by_lanes = F.pad(square_sums(weight), (0, rest)).unflatten(2, (-1, native.LANES))
    shift = weight.new_zeros(len(weight)) if bias is None else bias
    return torch.cat((by_lanes.transpose(1, 2).flatten(), F.pad(shift.double(), (0, rest)))).to(weight.dtype)


@torch.library.register_fake("upbench::convolve_fused", lib=LIBRARY)
def _(x: Tensor, weight: Tensor, bias: Tensor | None, added: Tensor | None) -> Tensor:
    return empty_map(x, x.shape[0], weight.shape[0], *x.shape[2:])


LIBRARY.impl("convolve_fused", convolve, "CPU")
