"""An upsampler made of the parts of a SegFormer head: a linear layer on tokens, bilinear enlarging, and a fusion."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class LinearEmbedding(nn.Module):
    """A linear layer on the pixels as tokens."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, embedding)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x.flatten(2).transpose(1, 2))


class MLPHead(nn.Module):
    """Embedding, enlarging, fusion with batch norm and ReLU, dropout, prediction."""

    def __init__(self, channels: int, scale: int = 2, embedding: int = 16) -> None:
        super().__init__()
        self.scale = scale
        self.linear_c = LinearEmbedding(channels, embedding)
        self.linear_fuse = nn.Sequential(
            nn.Conv2d(embedding, embedding, 1, bias=False), nn.BatchNorm2d(embedding), nn.ReLU()
        )
        self.dropout = nn.Dropout2d(0.1)
        self.linear_pred = nn.Conv2d(embedding, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        tokens = self.linear_c(x).permute(0, 2, 1).reshape(n, -1, h, w)
        up = F.interpolate(tokens, size=(h * self.scale, w * self.scale), mode="bilinear", align_corners=False)
        return self.linear_pred(self.dropout(self.linear_fuse(up)))
