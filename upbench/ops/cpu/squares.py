"""Convolutions with 3x3 taps by the C kernel (`csrc/squares.h`), two by two outputs at a time.

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
from upbench.ops.cpu.layer_numbers import square_sums, square_taps
from upbench.ops.cpu.products import slow_products
from upbench.ops.memory_layout import empty_map
from upbench.ops.offsets import grouped_convolution
from upbench.ops.registration import LIBRARY, OPS, Op, declare, numel

Squares = structs.struct(
    "Squares",
    **dict.fromkeys(("x", "weights", "added", "out"), structs.ADDRESS),
    **dict.fromkeys(("height", "width", "channels", "outputs", "groups", "ratio", "dtype"), structs.COUNT),
)
SquareTaps = structs.struct(
    "SquareTaps",
    **dict.fromkeys(("x", "grad", "taps", "biases"), structs.ADDRESS),
    **dict.fromkeys(("height", "width", "channels", "outputs", "groups", "band", "dtype"), structs.COUNT),
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

FEW_OUTPUTS = 4
"""Outputs that the kernel takes one by one, where they would not fill a vector after others that do."""

for _signature in (
    "convolve_fused(Tensor x, Tensor weight, Tensor? bias, Tensor? added) -> Tensor",
    "convolve_groups_fused(Tensor rows, Tensor weight, Tensor bias) -> Tensor",
    "convolve_groups_taps_fused(Tensor grad, Tensor rows) -> (Tensor, Tensor)",
):
    LIBRARY.define(_signature, tags=(torch.Tag.pt2_compliant_tag,))
convolve_fused: Any = torch.ops.upbench.convolve_fused.default
convolve_groups_fused: Any = torch.ops.upbench.convolve_groups_fused.default
convolve_groups_taps_fused: Any = torch.ops.upbench.convolve_groups_taps_fused.default
"""The gradient of the one before it in its taps and its bias."""
BAND = 8
"""Rows of squares whose gradients in the taps are summed by themselves, so that the number of threads changes nothing."""


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
    if slow_products(x) and all(t.dtype == x.dtype for t in given):  # it is converted, as for torch's
        given = [t.new_empty(0, dtype=torch.float32) for t in given]
    if not map_kernels.can_run_native(*given) or x.dim() != 4:
        return False
    if added is not None and (ratio_of(x, added) == 0 or added.shape[1] != len(layer.weight)):
        return False
    return _pays(x.shape[2] * x.shape[3], layer.weight)


def _pays(pixels: int, weight: Tensor) -> bool:
    """Whether the kernel takes so many channels, and is faster than torch."""
    (outputs, channels), lanes = weight.shape[:2], native.LANES
    if lanes < SLOWEST_LANES or channels % lanes:
        return False
    rest = outputs % lanes
    made = outputs if outputs > lanes and rest <= FEW_OUTPUTS else outputs + -outputs % lanes
    enough = pixels * outputs * channels * 9 >= thresholds.scaled(FEWEST_PRODUCTS)
    return enough and pixels >= thresholds.scaled(FEWEST_PIXELS) and 4 * outputs >= 3 * made


def grouped(
    local: Float[Tensor, "B C H W"], weight: Float[Tensor, "O I k k"], bias: Float[Tensor, " O"], groups: int
) -> Float[Tensor, "B H W O2"]:
    """Convolve groups of channels with weights that they share, by the kernel where it pays: `offsets.grouped_convolution`.

    Args:
        local: the map, whose channels lie last.
        weight, bias: of every group.
        groups: of the channels.
    """
    rows, pixels = local.permute(0, 2, 3, 1), local.shape[2] * local.shape[3] * groups
    ready = weight.shape[2:] == (3, 3) and rows.is_contiguous() and map_kernels.can_run_native(local, weight, bias)
    if not ready or not _pays(pixels, weight):
        return grouped_convolution(local, weight, bias, groups)
    return convolve_groups_fused(rows.unflatten(3, (groups, -1)), weight, bias).flatten(3)


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


declare("convolve_fused", "conv", _charge)


def _charge_groups(shapes: Sequence[Sequence[int]], args: Sequence[Any]) -> dict[str, int]:
    return {"aten::_convolution": numel(shapes[-1]) * shapes[1][1] * 9}


OPS["upbench::convolve_groups_fused"] = Op(
    "upbench::convolve_groups_fused",
    "conv",
    lambda shapes, args: numel(shapes[-1]) * shapes[1][1] * 9,
    _charge_groups,
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
    rows, out = window_kernels.map_rows(x).contiguous(), empty_map(x, len(x), len(weight), *x.shape[2:])
    smaller = None if added is None else added.permute(0, 2, 3, 1).contiguous()
    given = rows.unsqueeze(3), out.permute(0, 2, 3, 1).unsqueeze(3), weight, bias
    _run(*given, smaller, 1 if added is None else ratio_of(x, added))
    return out


def convolve_groups(
    rows: Float[Tensor, "B H W G I"], weight: Float[Tensor, "O I 3 3"], bias: Float[Tensor, " O"]
) -> Float[Tensor, "B H W G O"]:
    """Convolve each of some maps whose pixels lie beside each other, zeros around them.

    Args:
        rows: the maps, contiguous.
        weight: the taps.
        bias: added to every pixel.
    """
    out = rows.new_empty((*rows.shape[:4], len(weight)))
    _run(rows.contiguous(), out, weight, bias, None, 1)
    return out


def convolve_groups_taps(grad: Float[Tensor, "B H W G O"], rows: Float[Tensor, "B H W G I"]) -> tuple[Tensor, Tensor]:
    """Return the gradients of `convolve_groups` in its taps, [O, I, 3, 3], and its bias.

    Args:
        grad: that of the outputs.
        rows: the maps; where their channels are no whole vectors they are copied.
    """
    given, outputs = rows.shape[4], grad.shape[4]
    rows = F.pad(rows, (0, -given % native.LANES)).contiguous() if given % native.LANES else rows.contiguous()
    (b, h, w, groups, channels), grad = rows.shape, grad.contiguous()
    bands = math.ceil(math.ceil(h / 2) / BAND)
    taps, biases = rows.new_empty((b, bands, 16, outputs, channels)), rows.new_empty((b, bands, outputs))
    job = SquareTaps(height=h, width=w, channels=channels, outputs=outputs, groups=groups, band=BAND)
    job.dtype = map_kernels.DTYPES.index(rows.dtype)
    for image in range(b):
        job.x, job.grad, job.taps, job.biases = (native.address(t, image) for t in (rows, grad, taps, biases))
        map_kernels.run("square_taps", job, bands, 1, 4 * grad[0].numel() * channels)
    summed = square_taps(taps[..., :given].flatten(0, 1).sum(0))
    return summed.to(rows.dtype).contiguous(), biases.flatten(0, 1).sum(0)


def _run(rows: Tensor, out: Tensor, weight: Tensor, bias: Tensor | None, added: Tensor | None, ratio: int) -> None:
    """Write the convolution of rows [B, H, W, G, I] to `out`."""
    b, h, w, groups, channels = rows.shape
    numbers = _numbers(weight, bias)
    job = Squares(height=h, width=w, channels=channels, outputs=len(weight), groups=groups, ratio=ratio)
    job.weights, job.dtype = numbers.data_ptr(), map_kernels.DTYPES.index(rows.dtype)
    for image in range(b):
        job.x, job.out, job.added = (native.address(t, image) for t in (rows, out, added))
        map_kernels.run("squares", job, math.ceil(h / 2), 1, 4 * out[0].numel() * channels)


def _numbers(weight: Tensor, bias: Tensor | None) -> Tensor:
    """The 16 sums of the taps, [16, outputs / lanes, channels, lanes], then the bias, as the kernel reads them."""
    rest = -len(weight) % native.LANES
    by_lanes = F.pad(square_sums(weight), (0, rest)).unflatten(2, (-1, native.LANES))
    shift = weight.new_zeros(len(weight)) if bias is None else bias
    return torch.cat((by_lanes.transpose(1, 2).flatten(), F.pad(shift.double(), (0, rest)))).to(weight.dtype)


@torch.library.register_fake("upbench::convolve_fused", lib=LIBRARY)
def _(x: Tensor, weight: Tensor, bias: Tensor | None, added: Tensor | None) -> Tensor:
    return empty_map(x, x.shape[0], weight.shape[0], *x.shape[2:])


@torch.library.register_fake("upbench::convolve_groups_fused", lib=LIBRARY)
def _(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return rows.new_empty((*rows.shape[:4], len(weight)))


@torch.library.register_fake("upbench::convolve_groups_taps_fused", lib=LIBRARY)
def _(grad: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    outputs = grad.shape[4]
    return rows.new_empty((outputs, rows.shape[4], 3, 3)), rows.new_empty(outputs)


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs[:2])


def _turned(grad: Tensor, weight: Tensor) -> Tensor:
    """The gradient of a convolution in its maps: one with the taps the other way round."""
    return convolve_groups_fused(grad, weight.flip(2, 3).transpose(0, 1), weight.new_zeros(weight.shape[1]))


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    rows, weight = ctx.saved_tensors
    needed = ctx.needs_input_grad
    taps = convolve_groups_taps_fused(grad, rows) if needed[1] or needed[2] else (None, None)
    return _turned(grad, weight) if needed[0] else None, *taps


def _taps_backward(ctx: Any, taps: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    grad, rows = ctx.saved_tensors
    return convolve_groups_fused(rows, taps, bias), _turned(grad, taps)


torch.library.register_autograd("upbench::convolve_groups_fused", _backward, setup_context=_keep, lib=LIBRARY)
torch.library.register_autograd("upbench::convolve_groups_taps_fused", _taps_backward, setup_context=_keep, lib=LIBRARY)
LIBRARY.impl("convolve_fused", convolve, "CPU")
LIBRARY.impl("convolve_groups_fused", convolve_groups, "CPU")
LIBRARY.impl("convolve_groups_taps_fused", convolve_groups_taps, "CPU")
