"""Layer norm over the channels and its products with a matrix by the C kernel (`csrc/normed.h`), in one pass over the map."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from upbench.ops.cpu import layer_numbers, native, structs
from upbench.ops.cpu.rows import SLICES
from upbench.ops.memory_layout import on_huge_pages

TILE = 32
"""Pixels that the kernel takes at once."""
CHUNK = 64
"""Products of whole numbers that are summed in 32 bits: those of more would leave fewer bits to each."""
Normed = structs.struct(
    "Normed",
    **dict.fromkeys(("x", "scale", "shift", "weights", "pairs", "whole", "values", "queries", "keys"), structs.ADDRESS),
    **dict.fromkeys(("pixels", "channels", "depth", "blocks", "slice", "chunk", "x_step"), structs.COUNT),
    eps=structs.REAL,
    wide=structs.COUNT,
)


def can_run(x: Tensor, depth: int, blocks: int) -> bool:
    """Return whether the kernel takes a map: planes of float32 or float64, and whole lanes of channels in each block.

    Or of bfloat16, see `by_pairs`.

    Args:
        x: the map.
        depth: channels of the queries, and of the keys.
        blocks: parts of the channels that are read at different points.
    """
    lanes = native.LANES
    whole = x.shape[1] // blocks % lanes == 0 and depth // blocks % lanes == 0
    return whole and x.is_contiguous() and (native.can_run_native(x, entry="normed") or by_pairs(x, depth, blocks))


def by_pairs(x: Tensor, depth: int, blocks: int) -> bool:
    """Return whether a map is read as bfloat16 and multiplied in pairs of channels: on a CPU that adds such products.

    Args:
        x, depth, blocks: as `can_run` takes them.
    """
    own = x.dtype == torch.bfloat16 and native.value_dtype(x, blocks) == x.dtype
    return own and depth // blocks % (2 * native.LANES) == 0 and x.is_contiguous()


def run(
    x: Float[Tensor, "B C H W"],
    scale: Float[Tensor, " C"],
    shift: Float[Tensor, " C"],
    eps: float,
    weight: Float[Tensor, "O C"],
    blocks: int,
    slices: bool = True,
) -> tuple[Float[Tensor, "B _ H W n"] | None, Float[Tensor, "B O/2 H W"], Float[Tensor, "B {blocks} H W O/2/{blocks}"]]:
    """Norm and project a map.

    Args:
        x: the map, see `can_run`.
        scale: factors of the layer norm.
        shift: shifts of the same.
        eps: of the same.
        weight: the matrix, of which the first half makes queries and the second keys.
        blocks: parts of the channels that are read at different points.
        slices: whether x itself is returned too.

    Returns:
        x itself in slices of n channels, or None, the queries channels-last, and the keys in blocks of channels. Of a map of
        bfloat16 the queries are float32.
    """
    (b, c, h, w), depth = x.shape, weight.shape[0] // 2
    width = next(n for n in (*SLICES, native.LANES) if c // blocks % n == 0)
    values = on_huge_pages(x.new_empty((b, c // width, h, w, width))) if slices else None
    queries, keys = weight.new_empty((b, h, w, depth)), x.new_empty((b, blocks, h, w, depth // blocks))
    numbers, scale, shift = (t.contiguous() for t in (weight.t(), scale, shift))
    pairs = whole = None
    chunk = math.gcd(c, CHUNK)
    if x.dtype == torch.bfloat16:
        whole = layer_numbers.whole_pairs(weight[:depth], chunk)
        pairs = weight[depth:].to(x.dtype).unflatten(1, (-1, 2)).transpose(0, 1).contiguous()
    for image in range(b):
        job = Normed(
            x=native.address(x, image),
            scale=scale.data_ptr(),
            shift=shift.data_ptr(),
            weights=numbers.data_ptr(),
            pairs=native.address(pairs, 0),
            whole=native.address(whole, 0),
            chunk=chunk,
            values=native.address(values, image),
            queries=native.address(queries, image),
            keys=native.address(keys, image),
            pixels=h * w,
            channels=c,
            depth=depth,
            blocks=blocks,
            slice=width,
            x_step=h * w,
            eps=eps,
            wide=x.dtype == torch.float64,
        )
        native.run_tiles("normed", job, math.ceil(h * w / TILE), h * w * numbers.numel())
    return values, queries.permute(0, 3, 1, 2), keys
