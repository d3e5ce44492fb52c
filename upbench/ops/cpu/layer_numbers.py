"""The numbers of small layers in the order in which the C kernel takes them (`csrc/tile.h`)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from upbench.ops.cpu.native import LANES
from upbench.ops.points import lattice

SUMS = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))
"""What each of four sums takes of three taps in a row."""
PAIRED = 2**14
"""The largest of the whole numbers that the inputs of a predictor's last convolution become in `pairs`."""


def layers(first: Tensor, gamma: Tensor, beta: Tensor, last: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the numbers of a predictor of offsets, one after another, in the order in which the kernel takes them.

    Args:
        first: [d, 1, 3, 3], its first convolution.
        gamma, beta: [d], scale and shift of its norm.
        last, bias: [(taps, (y, x)), d, k, k] and [(taps, (y, x))], its last convolution.
        dtype: of the result.
    """
    # All x before all y, and the channels last.
    taps = last.shape[0] // 2
    last = last.unflatten(0, (taps, 2)).flip(1).transpose(0, 1).flatten(0, 1).permute(0, 2, 3, 1)
    bias, side = bias.view(taps, 2).flip(1).t(), math.isqrt(taps)
    places = lattice(side, side, bias) - side // 2
    numbers = (first.flatten(1).t(), gamma, beta, bias, places, *_lanes(last))
    if last.shape[1] != 3 or last.shape[3] % LANES:
        return _joined(dtype, *numbers)
    whole = last.shape[0] // LANES * LANES
    by_lanes = square_sums(last[:whole].permute(0, 3, 1, 2)).unflatten(2, (-1, LANES)).movedim(2, 0)
    return _joined(dtype, *numbers, by_lanes)


def square_sums(weight: Tensor) -> Tensor:
    """Return what each of the 16 sums of the pixels of a square is multiplied by (`csrc/square_sums.h`): [16, I, O], in float64.

    Args:
        weight: [O, I, 3, 3].
    """
    taps = weight.double().flatten(2).permute(2, 1, 0)
    return (_sums_of_taps() @ taps.flatten(1)).unflatten(1, taps.shape[1:])


def square_taps(grad: Tensor) -> Tensor:
    """Return the gradient in the taps, [O, I, 3, 3], from that in `square_sums`: its transpose, in float64.

    Args:
        grad: [16, O, I].
    """
    taps = _sums_of_taps().t() @ grad.double().flatten(1)
    return taps.view(3, 3, *grad.shape[1:]).permute(2, 3, 0, 1)


def _sums_of_taps() -> Tensor:
    """[16, 9]: what each of the sums takes of each tap, of rows and columns alike."""
    return torch.tensor([[a * b for a in row for b in column] for row in SUMS for column in SUMS], dtype=torch.float64)


def pairs(last: Tensor) -> Tensor:
    """Return the weights of a predictor's last convolution as the kernel multiplies pairs of them (`csrc/bfloat_tile.h`): as bytes.

    Args:
        last: [(taps, (y, x)), d, k, k]; d is even. A weight is a whole number of 16 bits times the factor of its output; the sums of
            a row of the window, with inputs of up to PAIRED, fit into 32 bits.
    """
    taps, whole = last.shape[0] // 2, last.shape[0] // LANES * LANES
    last = last.unflatten(0, (taps, 2)).flip(1).transpose(0, 1).flatten(0, 1).double()
    rows, factors = _whole_numbers(last.permute(0, 2, 3, 1).flatten(2), PAIRED)
    parts = [factors, rows[:whole].unflatten(0, (-1, LANES)).unflatten(-1, (-1, 2)).movedim(1, -2), rows[whole:]]
    if last.shape[-1] == 3:
        # [16, I, O] -> [16, O, 1, I]
        squares, factors = _whole_numbers(square_sums(last[:whole]).transpose(1, 2).unsqueeze(2), 2 * PAIRED, 2)
        lanes = squares.view(16, whole // LANES, LANES, last.shape[1] // 2, 2).transpose(2, 3)
        parts[1:2] = [factors, lanes]
    return torch.cat([part.contiguous().flatten().view(torch.uint8) for part in parts])


def whole_pairs(weight: Tensor, chunk: int) -> Tensor:
    """Return the weights of a projection as `csrc/bfloat_normed.h` multiplies pairs of them with whole numbers of up to PAIRED: as bytes.

    Args:
        weight: [O, I].
        chunk: inputs whose products with the weights of an output are summed in 32 bits; an even number that divides I.
    """
    rows, factors = _whole_numbers(weight.double().unflatten(1, (-1, chunk)), PAIRED)
    lanes = rows.flatten(1).unflatten(1, (-1, 2)).transpose(0, 1)
    return torch.cat([part.contiguous().flatten().view(torch.uint8) for part in (factors, lanes)])


def _whole_numbers(rows: Tensor, inputs: float, first: int = 1) -> tuple[Tensor, Tensor]:
    """Return weights as whole numbers of 16 bits, and the factor of each of their outputs.

    Args:
        rows: [..., R, n]: the sums of n products with inputs of up to `inputs` fit into 32 bits.
        inputs: the largest size of an input.
        first: the first dimension of those that are not outputs.
    """
    sums = rows.abs().sum(-1).flatten(first).amax(first)
    largest = rows.abs().flatten(first).amax(first)
    scale = torch.minimum((2**31 / inputs - rows.shape[-1]) / sums, 32767 / largest).clamp_(max=2.0**60)
    return (rows * scale.view(*scale.shape, 1, 1)).round_().to(torch.int16), (1 / scale).float()


def layer(weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Return the numbers of a pointwise convolution in the order in which the kernel takes them.

    Args:
        weight, bias: [O, I, 1, 1], and [O] or None for zeros.
        dtype: of the result.
    """
    return _joined(dtype, weight.new_zeros(weight.shape[0]) if bias is None else bias, *_lanes(weight))


def _lanes(weight: Tensor) -> tuple[Tensor, Tensor]:
    """[O, ...] -> [O / LANES, ..., LANES] and the outputs that remain."""
    whole = weight.shape[0] // LANES * LANES
    return weight[:whole].unflatten(0, (-1, LANES)).movedim(1, -1), weight[whole:]


def _joined(dtype: torch.dtype, *parts: Tensor) -> Tensor:
    return torch.cat([part.to(dtype).flatten() for part in parts])
