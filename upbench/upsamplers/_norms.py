"""Norms of maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 8


class ChannelLayerNorm(nn.Module):
    """Layer norm over the channels of each pixel. [B, C, H, W] -> the same. State dict: weight, bias."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        rows = F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],), self.weight, self.bias, self.eps)
        return rows.permute(0, 3, 1, 2)


def unit(x: Tensor) -> Tensor:
    """x divided by its norm over the channels, at least 1e-12. [B, C, H, W] -> the same."""
    return F.normalize(x, dim=1)


def plain_group_norm(x: Tensor) -> Tensor:
    """Group norm in `GROUPS` groups, without weights. [B, C, H, W] -> the same."""
    if torch.compiler.is_exporting():
        return torch.group_norm(x, GROUPS)
    return F.group_norm(x.contiguous().flatten(2), GROUPS).view(x.shape)
