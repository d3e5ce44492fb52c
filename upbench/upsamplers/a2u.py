"""A2U: affinity-aware upsampling, with second-order features of the encoder (Dai et al., CVPR 2021)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from upbench.ops import kernel_affinity, window_assemble
from upbench.upsamplers._base import AdaptiveAvgPool2d, GroupNorm, Upsampler

GROUPS, EPS = 32, 1e-5  # of both norms
SLOPE = 0.01  # of both rectifiers


class KernelGenerator(nn.Module):
    """guide: [B, Cy, 2H, 2W] -> kernels [B, 1, k_up^2, 2H, 2W]; 32 divides Cy.

    u, v: a k_enc x k_enc filter each, one pair per sample, from the guide pooled to k_enc x k_enc.
    p: 4 k_up^2 numbers per sample, from the guide pooled to a point.
    a = sum_c norm(guide * u) norm(guide * v) / sqrt(Cy), at stride 2; kernels = softmax(sigmoid(pixel_shuffle(p a))).
    """

    def __init__(self, channels: int, k_up: int, k_enc: int) -> None:
        super().__init__()
        self.bnu = nn.Sequential(GroupNorm(GROUPS, channels, EPS), nn.LeakyReLU(SLOPE))
        self.bnv = nn.Sequential(GroupNorm(GROUPS, channels, EPS), nn.LeakyReLU(SLOPE))
        self.bconv_UP = nn.Sequential(AdaptiveAvgPool2d(1), nn.Conv2d(channels, 4 * k_up * k_up, 1))
        self.bconv_U = nn.Sequential(AdaptiveAvgPool2d(k_enc), nn.Conv2d(channels, 1, 1))
        self.bconv_V = nn.Sequential(AdaptiveAvgPool2d(k_enc), nn.Conv2d(channels, 1, 1))

    def forward(self, guide: Tensor, backend: str = "eager") -> Tensor:
        return F.softmax(F.pixel_shuffle(self.logits(guide, backend), 2).sigmoid(), dim=1).unsqueeze(1)

    def logits(self, guide: Tensor, backend: str = "eager") -> Tensor:
        """[B, 4 k_up^2, H, W], four sub-pixels of every tap."""
        layers = (self.bconv_U, self.bconv_V, self.bnu, self.bnv, self.bconv_UP)
        return kernel_affinity(guide, *layers, backend=backend)


class A2U(Upsampler):
    """Reassembly by kernels that the guide alone predicts: dynamic, shared by the channels, rank 1 (dynamic-cs-d).

    x: [B, C, H, W], guide: [B, Cy, 2H, 2W] -> [B, C, 2H, 2W]; scale 2, 32 divides Cy.
    out = window_assemble(x, kernel_gen(guide)).
    State dict: kernel_gen.{bnu,bnv}.0, kernel_gen.bconv_{UP,U,V}.1, each weight and bias, as detection-with-upsamplers.
    Initialised as PyTorch does.
    """

    guided = True
    scale: int

    def __init__(self, channels: int, guide_channels: int, scale: int = 2, *, k_up: int = 3, k_enc: int = 6) -> None:
        super().__init__()
        self.channels, self.guide_channels, self.scale, self.k_up = channels, guide_channels, scale, k_up
        self.kernel_gen = KernelGenerator(guide_channels, k_up, k_enc)

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The original model has no kernel_gen, and like A2UUpRaw a bconv_DP that only downsampling reads."""
        kept = {key: value for key, value in state.items() if "bconv_DP." not in key}
        if any(key.startswith("kernel_gen.") for key in kept):
            return kept
        return {f"kernel_gen.{key}": value for key, value in kept.items()}

    def upsample(self, x: Tensor, guide: Tensor) -> Tensor:
        # Autocast would assemble in half precision and return it.
        kernels = self.kernel_gen(guide, self.backend).to(x.dtype)
        return window_assemble(x, kernels, self.k_up, self.scale, backend=self.backend).to(x.dtype)
