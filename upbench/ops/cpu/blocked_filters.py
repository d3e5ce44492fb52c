"""Filters of one input channel at stride 2, blocks of neighbouring output pixels as the channels of one convolution.

A block is `tile` rows and columns of output pixels. What is filtered has the blocks' pixels as channels, so that those at one
place of all blocks lie together.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def tile_of(height: int, width: int) -> tuple[int, int]:
    """The block of output pixels that one convolution window computes: with two filters at most 16 channels."""
    return 1 + (height % 2 == 0), next(n for n in (4, 2, 1) if width % n == 0)


def shifted(filters: Float[Tensor, "2 k k"], tile: tuple[int, int]) -> Float[Tensor, "N 1 tH tW"]:
    """Each filter where every pixel of a block needs it, at stride 2."""
    size = filters.shape[-1]
    span = [2 * n + size - 2 for n in tile]
    out = filters.new_zeros(2, *tile, *span)
    for i in range(tile[0]):
        for j in range(tile[1]):
            out[:, i, j, 2 * i : 2 * i + size, 2 * j : 2 * j + size] = filters
    return out.view(-1, 1, *span)


def filtered(
    guide: Float[Tensor, "C iH iW"], windows: Tensor, size: int, tile: tuple[int, int], dtype: torch.dtype
) -> Tensor:
    """The guide by the windows of `shifted`; size: side of a filter; dtype: that is computed in."""
    planes = guide.unsqueeze(1).to(dtype).contiguous()
    return F.conv2d(planes, windows, stride=(2 * tile[0], 2 * tile[1]), padding=(size - 1) // 2)


def slope_of_windows(
    dmaps: Tensor, guide: Tensor, windows: Tensor, size: int, tile: tuple[int, int], dtype: torch.dtype
) -> Tensor:
    """The gradient of the windows of `filtered` from that of what it returns."""
    planes, padding = guide.unsqueeze(1).to(dtype).contiguous(), [(size - 1) // 2] * 2
    stride = [2 * tile[0], 2 * tile[1]]
    only = [False, True, False]
    return torch.ops.aten.convolution_backward(
        dmaps, planes, windows, None, stride, padding, [1, 1], False, [0, 0], 1, only
    )[1]


def unshifted(windows: Tensor, tile: tuple[int, int], size: int) -> Float[Tensor, "2 k k"]:
    """The transpose of `shifted`."""
    windows = windows.view(2, *tile, *windows.shape[2:])
    out = windows.new_zeros(2, size, size)
    for i in range(tile[0]):
        for j in range(tile[1]):
            out += windows[:, i, j, 2 * i : 2 * i + size, 2 * j : 2 * j + size]
    return out


def blocks_of(plane: Float[Tensor, "H W"], tile: tuple[int, int]) -> Float[Tensor, " pixels"]:
    """The pixels of a plane in the order of the maps: those at one place of all blocks together."""
    h, w = plane.shape
    return plane.view(h // tile[0], tile[0], w // tile[1], tile[1]).permute(1, 3, 0, 2).reshape(-1)


def pixels_of(maps: Tensor, tile: tuple[int, int], size: tuple[int, int]) -> Float[Tensor, "C n H W"]:
    """The transpose: maps of blocks as planes of pixels."""
    h, w = size
    blocks = maps.reshape(maps.shape[0], -1, *tile, h // tile[0], w // tile[1])
    return blocks.permute(0, 1, 4, 2, 5, 3).reshape(maps.shape[0], -1, h, w)
