"""DLU: a dynamic lightweight upsampler (arXiv 2410.22139, 2024)."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops import convolution, parents, sample_points, window_assemble
from upbench.upsamplers._base import Upsampler, xavier, zero_bias


class DLU(Upsampler):
    """CARAFE whose kernels are sampled, at learned offsets, from one kernel for each input pixel.

    x: [B, C, H, W] -> [B, C, sH, sW]; integer scale.
    kernels = softmax(kernel_space_generator(channel_compressor(x))), offset = pixel_shuffle(conv_offset(..));
    weights at p' = kernels at parent(p') + offset (bilinear, clamped onto the map); out = window_assemble(x, weights).
    State dict: channel_compressor, kernel_space_generator, conv_offset {weight,bias}.
    Initialised Xavier-uniform, kernel_space_generator N(0, 0.001), conv_offset and biases 0.
    """

    def __init__(self, channels: int, scale: int = 2, *, k_up: int = 5, k_enc: int = 3, compressed: int = 64) -> None:
        super().__init__(channels, scale)
        self.k_up = k_up
        self.channel_compressor = nn.Conv2d(channels, compressed, 1)
        self.kernel_space_generator = nn.Conv2d(compressed, k_up * k_up, k_enc, padding=k_enc // 2)
        self.conv_offset = nn.Conv2d(compressed, 2 * scale * scale, k_enc, padding=k_enc // 2)
        xavier(self)
        nn.init.normal_(self.kernel_space_generator.weight, std=0.001)
        nn.init.zeros_(self.conv_offset.weight)
        zero_bias(self.conv_offset)

    def upsample(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C sH sW"]:
        compressed = convolution(self.channel_compressor, x, backend=self.backend)
        logits = convolution(self.kernel_space_generator, compressed, backend=self.backend)
        kernels = logits.softmax(1).to(logits.dtype)
        base = parents(x.shape[2], x.shape[3], self.scale, x)
        moves = convolution(self.conv_offset, compressed, backend=self.backend)
        points = base + F.pixel_shuffle(moves, self.scale).to(base.dtype)
        points = points.movedim(1, -1)[:, None, None]
        weights = sample_points(kernels, points, "border", backend=self.backend).transpose(1, 2)
        return window_assemble(x.to(weights.dtype), weights, self.k_up, self.scale, backend=self.backend)
