"""Filters of one input channel at stride 2, blocks of neighbouring output pixels as the channels of one convolution.

A block is `tile` rows and columns of output pixels. What is filtered has the blocks' pixels as channels, so that those at one
place of all blocks lie together. The gradient of what is filtered is itself such a convolution of the gradients of both maps, with
the filters mirrored and parted by the four sub-pixels of an output pixel.
"""

from __future__ import annotations

from itertools import product

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


class BlockFilters:
    """Both filters of one image. What they make are planes in the order of blocks of pixels.

    Args:
        filters: of at least float32.
        height: rows of output pixels.
        width: columns of them.
    """

    def __init__(self, filters: Float[Tensor, "2 k k"], height: int, width: int) -> None:
        self.kernel, self.size, self.tile = filters.shape[-1], (height, width), tile_of(height, width)
        self.windows = shifted(filters, self.tile)
        self.total = torch.zeros_like(self.windows)
        self.back, self.block, self.margins = _mirrored(filters, self.size)

    def maps(self, guide: Float[Tensor, "C iH iW"]) -> Float[Tensor, "2 C pixels"]:
        """Return what the filters make of some planes of the guide."""
        maps = filtered(guide, self.windows, self.kernel, self.tile, self.windows.dtype)
        return maps.view(len(guide), 2, -1).transpose(0, 1)

    def guide_slope(self, dmaps: Float[Tensor, "2 C pixels"], guide: Float[Tensor, "C iH iW"], out: Tensor) -> None:
        """Write the gradient of the planes of a guide, given that of their maps; that of the filters is added up."""
        (h, w), (high, wide), planes = self.size, self.tile, len(guide)
        dmaps = dmaps.transpose(0, 1).reshape(planes, -1, h // high, w // wide)
        self.total += slope_of_windows(dmaps, guide, self.windows, self.kernel, self.tile, self.windows.dtype)
        out.copy_(_spread(pixels_of(dmaps, self.tile, self.size), self.back, self.block, self.margins))

    def filter_slope(self) -> Float[Tensor, "2 k k"]:
        """Return the gradient of the filters, of all that `guide_slope` was asked for."""
        return unshifted(self.total, self.tile, self.kernel)

    def order(self, plane: Float[Tensor, "H W"]) -> Float[Tensor, " pixels"]:
        """Return the pixels of a plane in the order of the maps."""
        return blocks_of(plane, self.tile)

    def plane(self, pixels: Float[Tensor, " pixels"]) -> Float[Tensor, "H W"]:
        """Return pixels in the order of the maps as a plane."""
        return pixels_of(pixels.view(1, -1, 1, 1), self.tile, self.size)[0, 0]


def _mirrored(filters: Float[Tensor, "2 k k"], size: tuple[int, int]) -> tuple[Tensor, tuple[int, int], list[int]]:
    """Windows that make a block of pixels of the guide's gradient, that block in output pixels, and the margins they read.

    Pixel 2 i + a of the guide is met by output pixel i + d with tap a + p - 2 d of a filter, p its padding.
    """
    kernel = filters.shape[-1]
    padding = (kernel - 1) // 2
    first, last = -((kernel - 1 - padding) // 2), (1 + padding) // 2
    count = last - first + 1
    steps = torch.arange(count) + first
    taps = torch.arange(2).view(-1, 1) + padding - 2 * steps
    inside = ((taps >= 0) & (taps < kernel)).to(filters.dtype)
    index = taps.clamp(0, kernel - 1)
    # [2, a, d, b, e] -> [a, b, 2, d, e]
    parted = filters[:, index][:, :, :, index] * inside[:, :, None, None] * inside
    parted = parted.permute(1, 3, 0, 2, 4)
    block = (1 + (size[0] % 2 == 0), 1 + (size[1] % 2 == 0))
    windows = filters.new_zeros(*block, 2, 2, 2, count + block[0] - 1, count + block[1] - 1)
    for i in range(block[0]):
        for j in range(block[1]):
            windows[i, j, ..., i : i + count, j : j + count] = parted
    return windows.flatten(0, 3), block, [-first, last, -first, last]


def _spread(
    dmaps: Float[Tensor, "C 2 H W"], windows: Tensor, block: tuple[int, int], margins: list[int]
) -> Float[Tensor, "C iH iW"]:
    """The gradient of some planes of the guide from that of what both filters made of them."""
    h, w = dmaps.shape[2:]
    blocks = F.conv2d(F.pad(dmaps, margins), windows, stride=block)
    out = dmaps.new_empty(dmaps.shape[0], 2 * h, 2 * w)
    places = product(range(block[0]), range(block[1]), range(2), range(2))
    for n, (i, j, a, b) in enumerate(places):  # as so many copies far faster than as one of seven dimensions
        out[:, 2 * i + a :: 2 * block[0], 2 * j + b :: 2 * block[1]] = blocks[:, n]
    return out
