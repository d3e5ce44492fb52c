"""A2U: affinity-aware upsampling, with second-order features of the encoder (Dai et al., CVPR 2021)."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops import kernel_affinity, window_assemble
from upbench.upsamplers._base import AdaptiveAvgPool2d, GroupNorm, Upsampler

GROUPS, EPS = 32, 1e-5
"""Groups and epsilon of both group norms."""
SLOPE = 0.01
"""Slope of both leaky rectifiers below zero."""


class KernelGenerator(nn.Module):
    """Predicts a reassembly kernel for every output pixel from the guide alone.

    Args:
        channels: channels Cy of the guide; a multiple of 32.
        k_up: side of the reassembly kernel.
        k_enc: side of the filters u and v.

    u and v are filters of k_enc x k_enc, a pair for each sample, predicted from the guide pooled to k_enc x k_enc; p are
    4 k_up^2 numbers of each sample, predicted from the guide pooled to a point;
    a = sum_c norm(guide * u) norm(guide * v) / sqrt(Cy), at stride 2; kernels = softmax(sigmoid(pixel_shuffle(p a))).
    """

    def __init__(self, channels: int, k_up: int, k_enc: int) -> None:
        super().__init__()
        self.bnu = nn.Sequential(GroupNorm(GROUPS, channels, EPS), nn.LeakyReLU(SLOPE))
        self.bnv = nn.Sequential(GroupNorm(GROUPS, channels, EPS), nn.LeakyReLU(SLOPE))
        self.bconv_UP = nn.Sequential(AdaptiveAvgPool2d(1), nn.Conv2d(channels, 4 * k_up * k_up, 1))
        self.bconv_U = nn.Sequential(AdaptiveAvgPool2d(k_enc), nn.Conv2d(channels, 1, 1))
        self.bconv_V = nn.Sequential(AdaptiveAvgPool2d(k_enc), nn.Conv2d(channels, 1, 1))

    def forward(self, guide: Float[Tensor, "B Cy sH sW"], backend: str = "eager") -> Float[Tensor, "B 1 T sH sW"]:
        """Predict the weights of the T = k_up^2 taps of every output pixel."""
        return F.softmax(F.pixel_shuffle(self.logits(guide, backend), 2).sigmoid(), dim=1).unsqueeze(1)

    def logits(self, guide: Float[Tensor, "B Cy sH sW"], backend: str = "eager") -> Float[Tensor, "B N H W"]:
        """Predict the logits, N = 4 k_up^2, of the four sub-pixels of every tap."""
        layers = (self.bconv_U, self.bconv_V, self.bnu, self.bnv, self.bconv_UP)
        return kernel_affinity(guide, *layers, backend=backend)


class A2U(Upsampler):
    """Reassembles x by kernels that the guide alone predicts: dynamic, shared by the channels, rank 1 (dynamic-cs-d).

    Args:
        channels: channels C of x.
        guide_channels: channels Cy of the guide; a multiple of 32.
        scale: 2.
        k_up: side of the reassembly kernel, odd.
        k_enc: side of the filters that are predicted for the guide.

    out = window_assemble(x, kernel_gen(guide)).
    State dict: kernel_gen.{bnu,bnv}.0, kernel_gen.bconv_{UP,U,V}.1, each weight and bias, as detection-with-upsamplers.
    Initialised as PyTorch does.
    """

    guided = True
    scale: int

    def __init__(self, channels: int, guide_channels: int, scale: int = 2, *, k_up: int = 3, k_enc: int = 6) -> None:
        super().__init__(channels, scale, guide_channels)
        self.k_up = k_up
        self.kernel_gen = KernelGenerator(guide_channels, k_up, k_enc)

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the original model's keys, which have no kernel_gen, and drop bconv_DP, which only downsampling reads."""
        kept = {key: value for key, value in state.items() if "bconv_DP." not in key}
        if any(key.startswith("kernel_gen.") for key in kept):
            return kept
        return {f"kernel_gen.{key}": value for key, value in kept.items()}

    def upsample(self, x: Float[Tensor, "B C H W"], guide: Float[Tensor, "B Cy sH sW"]) -> Float[Tensor, "B C sH sW"]:
        # Autocast would assemble in half precision and return it.
        kernels = self.kernel_gen(guide, self.backend).to(x.dtype)
        return window_assemble(x, kernels, self.k_up, self.scale, backend=self.backend).to(x.dtype)
