"""FreqFusion's offset generator: where to read the enlarged map once more, by how alike neighbours are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upbench.ops import coordinate_dtype, lattice
from upbench.ops.local_similarity import local_similarity
from upbench.upsamplers._base import GroupNorm, zero_bias


class LocalSimilarityOffsets(nn.Module):
    """Points at which the enlarged map is read, one for each output pixel and channel group.

    high: [B, c, 2H, 2W] and low: [B, c, H, W] -> points [B, groups, 1, 2H, 2W, 2] in pixels of the enlarged map.
    g = group norm of each; S = `local_similarity` of g; with similarity "concat" all convolutions read cat(g, S),
    with "only" those of offsets read S and those of ranges g.
    o = (offset(low) + unshuffle(hr_offset(high))) * sigmoid(direct_scale(low) + unshuffle(hr_direct_scale(high))) + centre,
    in input pixels; o = centre, a quarter pixel, leaves the map as it is.
    State dict: offset, direct_scale, hr_offset, hr_direct_scale {weight,bias}, norm_hr, norm_lr, init_pos (buffer).
    """

    def __init__(self, channels: int, kernel: int, groups: int, norm: bool, similarity: str) -> None:
        super().__init__()
        self.groups, self.similarity = groups, similarity
        concat = similarity == "concat"
        moves, ranges = (channels + 8, channels + 8) if concat else (8, channels)
        self.norm_hr = GroupNorm(channels // 8, channels) if norm else nn.Identity()
        self.norm_lr = GroupNorm(channels // 8, channels) if norm else nn.Identity()
        pad = kernel // 2
        self.offset = nn.Conv2d(moves, 8 * groups, kernel, padding=pad)
        self.direct_scale = nn.Conv2d(ranges, 8 * groups, kernel, padding=pad)
        self.hr_offset = nn.Conv2d(moves, 2 * groups, kernel, padding=pad)
        self.hr_direct_scale = nn.Conv2d(ranges, 2 * groups, kernel, padding=pad)
        self.register_buffer("init_pos", self._centres(torch.empty(0)).repeat(1, groups, 1).view(1, -1, 1, 1))

    def _centres(self, like: Tensor) -> Tensor:
        """Centre of each of the four sub-pixels relative to its parent's, in input pixels: [2, 1, 4], x first."""
        step = torch.tensor([-0.25, 0.25], device=like.device, dtype=coordinate_dtype(like.dtype))
        return torch.stack((step.expand(2, 2), step.view(2, 1).expand(2, 2))).view(2, 1, 4)

    def initialise(self) -> None:
        """Offsets next to zero, N(0, 0.001), and ranges at their middle."""
        for layer, std in (
            (self.offset, 0.001),
            (self.hr_offset, 0.001),
            (self.direct_scale, 0.0),
            (self.hr_direct_scale, 0.0),
        ):
            nn.init.normal_(layer.weight, std=std)
            zero_bias(layer)

    def _read(self, g: Tensor, backend: str) -> tuple[Tensor, Tensor]:
        """What the convolutions of offsets and of ranges read."""
        alike = local_similarity(g, 3, 2, backend=backend)
        if self.similarity == "concat":
            both = torch.cat((g, alike), 1)
            return both, both
        return alike, g

    def points(self, high: Tensor, low: Tensor, backend: str = "auto") -> Tensor:
        moves_h, ranges_h = self._read(self.norm_hr(high), backend)
        moves_l, ranges_l = self._read(self.norm_lr(low), backend)
        moves = self.offset(moves_l) + F.pixel_unshuffle(self.hr_offset(moves_h), 2)
        ranges = self.direct_scale(ranges_l) + F.pixel_unshuffle(self.hr_direct_scale(ranges_h), 2)
        base = lattice(low.shape[2], low.shape[3], low)[:, None, None]
        offset = (moves * ranges.sigmoid()).to(base.dtype).unflatten(1, (2, self.groups, 4))
        # Pixel centres of the input, then indices of the map that is twice as large.
        place = 2 * (offset + self._centres(low)[..., None, None] + base + 0.5) - 0.5
        shuffled = F.pixel_shuffle(place.flatten(1, 3), 2).unflatten(1, (2, self.groups))
        return shuffled.permute(0, 2, 3, 4, 1).unsqueeze(2)
