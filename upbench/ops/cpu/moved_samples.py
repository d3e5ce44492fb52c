"""DySample on the CPU, without gradients: its convolutions are one product, and a C kernel (`csrc/moved_samples.h`) takes the samples.

Positions are made where they are used: no grid of them is held.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops.cpu import native, samples, structs, window_kernels
from upbench.ops.cpu.reassembly import project_fused
from upbench.ops.dispatch import record
from upbench.ops.memory_layout import empty_map
from upbench.ops.moved_samples import DYNAMIC, STATIC
from upbench.ops.registration import LIBRARY, coordinate_dtype, declare, numel

for _signature in (
    "offset_moves_fused(Tensor made, bool scoped) -> Tensor",
    "sample_moved_fused(Tensor x, Tensor moves, int groups, int scale) -> Tensor",
):
    LIBRARY.define(_signature, tags=(torch.Tag.pt2_compliant_tag,))
# Two ops, so that what the layers make is gone when samples are taken.
offset_moves_fused: Any = torch.ops.upbench.offset_moves_fused.default
sample_moved_fused: Any = torch.ops.upbench.sample_moved_fused.default

PIECE = 8
"""Tiles of the kernels, some pixels each, that a thread takes at a time."""
Moves = structs.struct(
    "Moves",
    **dict.fromkeys(("x", "out"), structs.ADDRESS),
    **dict.fromkeys(("pixels", "channels", "pitch", "scoped"), structs.COUNT),
    factor=structs.REAL,
    dtype=structs.COUNT,
)
MovedSamples = structs.struct(
    "MovedSamples",
    **dict.fromkeys(("x", "moves", "out"), structs.ADDRESS),
    **dict.fromkeys(("height", "width", "scale", "channels", "groups", "x_pitch", "out_pitch"), structs.COUNT),
    **dict.fromkeys(("channel_step", "child_step", "axis", "streams", "dtype"), structs.COUNT),
)


def _moves_macs(shapes: Sequence[Sequence[int]], args: Sequence[Any]) -> dict[str, int]:
    offsets = numel(shapes[-1])
    return {"aten::mul": 2 * offsets, "aten::sigmoid": offsets} if args[-1] else {"aten::mul": offsets}


def _sample_macs(shapes: Sequence[Sequence[int]], args: Sequence[Any]) -> dict[str, int]:
    scale, lattice = args[-1], 2 * numel(shapes[-1][2:])
    return {
        "aten::add": numel(shapes[1]) + lattice + scale,
        "aten::div": scale,
        "aten::sub": scale,
        "upbench::sample_points": 4 * numel(shapes[-1]),
    }


declare("offset_moves_fused", "elementwise", _moves_macs)
declare("sample_moved_fused", "gather", _sample_macs)


def sample_moved(
    x: Float[Tensor, "B C H W"],
    offset: nn.Conv2d,
    scope: nn.Conv2d | None,
    groups: int,
    scale: int,
    shuffle_first: bool,
) -> Float[Tensor, "B C {scale}*H {scale}*W"]:
    """Compute `ops.sample_moved`, with its arguments."""
    record("sample_points", "fused")
    source = x.reshape(x.shape[0], -1, scale * scale * x.shape[2], x.shape[3]) if shuffle_first else x
    weight, bias = offset.weight, offset.bias
    if scope is not None:
        weight = torch.cat((weight, scope.weight))
        biases = [weight.new_zeros(offset.out_channels) if t is None else t for t in (bias, scope.bias)]
        bias = None if bias is None and scope.bias is None else torch.cat(biases)
    moves = offset_moves_fused(project_fused(source, weight, bias), scope is not None)
    return sample_moved_fused(x, moves.view(x.shape[0], 2 * groups, -1), groups, scale)


def offset_moves(made: Float[Tensor, "B N H W"], scoped: bool) -> Float[Tensor, "B _ L"]:
    """Compute how far samples move from what the layers make of every pixel.

    Args:
        made: the offsets, and with `scoped` as many scopes after them.
        scoped: whether there are scopes.

    Returns:
        0.25 * offset, or 0.5 * sigmoid(scope) * offset, of every channel for all L = H * W pixels; at least float32.
    """
    rows, dtype = window_kernels.even_rows(made), coordinate_dtype(made.dtype)
    b, height, width, channels = rows.shape
    pixels = height * width
    channels //= 2 if scoped else 1
    out = made.new_empty((b, channels, pixels), dtype=dtype)
    job = Moves(
        pixels=pixels,
        channels=channels,
        pitch=window_kernels.pitch(rows),
        scoped=scoped,
        factor=DYNAMIC if scoped else STATIC,
        dtype=window_kernels.DTYPES.index(made.dtype),
    )
    given: dict[str, Tensor | None] = {"x": rows, "out": out}
    window_kernels.run("moves", job, given, b, math.ceil(pixels / native.LANES), 4 * channels * pixels, PIECE)
    return out


def take_samples(
    x: Float[Tensor, "B C H W"], moves: Float[Tensor, "B 2*{groups} _"], groups: int, scale: int
) -> Float[Tensor, "B C {scale}*H {scale}*W"]:
    """Compute `ops.sample_moved` from how far its samples move.

    Args:
        x: the low-resolution map.
        moves: in low-resolution pixels, those along x of all groups before those along y; of each group those of the first child of
            all H * W pixels, then those of the next of scale^2.
        groups: groups of channels with moves each; divides C.
        scale: output pixels per low-resolution pixel.

    Returns:
        The samples, channels-last.
    """
    b, c, h, w = x.shape
    moves = moves.contiguous()
    out = empty_map(x, b, c, scale * h, scale * w)
    job = MovedSamples(
        height=h,
        width=w,
        scale=scale,
        out_pitch=c,
        channel_step=scale * scale * h * w,
        child_step=h * w,
        axis=groups,
        dtype=window_kernels.DTYPES.index(x.dtype),
    )
    target, tiles = out.permute(0, 2, 3, 1), math.ceil(h * w / native.LANES)
    for part in samples.slices(x, groups):
        image, first = part.image, part.first
        job.channels, job.groups, job.x_pitch = part.width, part.groups, part.rows.stride(0)
        job.streams = samples.streams(out, part.width, c // groups)
        given: dict[str, Tensor | None] = {
            "x": part.rows.unsqueeze(0),
            "moves": moves[image, first * groups // c :].unsqueeze(0),
            "out": target[image, :, :, first:].unsqueeze(0),
        }
        terms = 4 * part.width * out.shape[2] * out.shape[3]
        window_kernels.run("sample_moved", job, given, 1, tiles, terms, PIECE)
    return out


@torch.library.register_fake("upbench::offset_moves_fused", lib=LIBRARY)
def _(made: Tensor, scoped: bool) -> Tensor:
    b, channels, h, w = made.shape
    return made.new_empty((b, channels // 2 if scoped else channels, h * w), dtype=coordinate_dtype(made.dtype))


@torch.library.register_fake("upbench::sample_moved_fused", lib=LIBRARY)
def _(x: Tensor, moves: Tensor, groups: int, scale: int) -> Tensor:
    b, c, h, w = x.shape
    return empty_map(x, b, c, scale * h, scale * w)


LIBRARY.impl("offset_moves_fused", offset_moves, "CPU")
LIBRARY.impl("sample_moved_fused", take_samples, "CPU")
