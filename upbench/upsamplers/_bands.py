"""AnyUp's encoders in bands of rows, see `ops.bands`: the same layers, one map in memory."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from upbench.ops.bands import bands, convolve_, normed, write_, write_rows_
from upbench.upsamplers._cross import CrossDecoder
from upbench.upsamplers.jafar import ImageRoPE


def residual_(layer: Any, held: Tensor) -> None:
    """`Residual` of as many channels as it returns, in place."""
    first, _, convolution, second, _, last = layer.block
    norm = normed(first, held)

    def inner(part: Tensor) -> Tensor:
        return convolution(F.silu(norm(part), inplace=True))

    again = normed(second, held, inner)
    write_(held, lambda part: part + last(F.silu(again(inner(part)), inplace=True)))


def encode_(layers: Any, held: Tensor) -> None:
    """A pointwise convolution and two residual blocks, in place."""
    convolution, *blocks = layers
    write_(held, convolution)
    for block in blocks:
        residual_(block, held)


def encode_image(layers: Any, rope: ImageRoPE, image: Tensor, backend: str) -> Tensor:
    """The encoder of an image, whose few channels it reads, and the positions: [1, 3, H, W] -> [1, d, H, W]."""
    convolution, *blocks = layers
    (height, width), reach = image.shape[2:], convolution.kernel_size[0] // 2
    wide = F.pad(image, (reach,) * 4, mode="reflect") if reach else image
    held = image.new_empty((1, convolution.out_channels, height, width))
    for rows in bands(height, held[:, :, 0].nbytes):
        held[:, :, rows] = F.conv2d(wide[:, :, rows.start : rows.stop + 2 * reach], convolution.weight)
    for block in blocks:
        residual_(block, held)
    write_rows_(held, lambda part, rows: rope(part, backend, rows, height))
    return held


def project_(decoder: CrossDecoder, held: Tensor) -> None:
    """The queries of a decoder, from its convolution to their projection, in place."""
    convolve_(held, decoder.conv2d.weight, decoder.cross_attn.queries)
