"""A2U: affinity-aware upsampling, with second-order features of the encoder (Dai et al., CVPR 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upbench.ops import affinity_logits, attends, resolve, window_assemble
from upbench.ops.affinity import filtered_affinity, pool_both
from upbench.upsamplers._base import AdaptiveAvgPool2d, GroupNorm, Upsampler, autocasts

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
        self.k_enc = k_enc
        self.bnu = nn.Sequential(GroupNorm(GROUPS, channels, EPS), nn.LeakyReLU(SLOPE))
        self.bnv = nn.Sequential(GroupNorm(GROUPS, channels, EPS), nn.LeakyReLU(SLOPE))
        self.bconv_UP = nn.Sequential(AdaptiveAvgPool2d(1), nn.Conv2d(channels, 4 * k_up * k_up, 1))
        self.bconv_U = nn.Sequential(AdaptiveAvgPool2d(k_enc), nn.Conv2d(channels, 1, 1))
        self.bconv_V = nn.Sequential(AdaptiveAvgPool2d(k_enc), nn.Conv2d(channels, 1, 1))

    def forward(self, guide: Tensor, fused: bool = False) -> Tensor:
        logits = self.logits_fused(guide) if fused and self.fuses(guide) else self.logits(guide)
        return F.softmax(F.pixel_shuffle(logits, 2).sigmoid(), dim=1).unsqueeze(1)

    def fuses(self, guide: Tensor) -> bool:
        """Whether `logits_fused` can take this guide: on a CPU, where no gradient is asked for.

        Groups of one value have nothing that could be summed on the way; the plain form knows what they are.
        """
        several = guide[0].numel() > 4 * GROUPS
        return several and attends(guide, *self.parameters()) and not autocasts(guide)

    def logits_fused(self, guide: Tensor) -> Tensor:
        """`logits` from two readings of the guide, without a map of its size."""
        grid, point = pool_both(guide, self.k_enc)
        filters = torch.cat((self.bconv_U[1](grid), self.bconv_V[1](grid)), 1)
        norms = [layers[0] for layers in (self.bnu, self.bnv)]
        scale, shift = (torch.stack([norm.get_parameter(k) for norm in norms], 1) for k in ("weight", "bias"))
        return filtered_affinity(guide, filters, scale, shift, self.bconv_UP[1](point), GROUPS, EPS, SLOPE)

    def logits(self, guide: Tensor) -> Tensor:
        """[B, 4 k_up^2, H, W], four sub-pixels of every tap."""
        filters = torch.cat((self.bconv_U(guide), self.bconv_V(guide)), 1)
        # Samples as groups, channels as batch: every channel of a sample meets that sample's two filters.
        filtered = F.conv2d(
            guide.transpose(0, 1),
            filters.flatten(0, 1).unsqueeze(1),
            stride=2,
            padding=(self.k_enc - 1) // 2,
            groups=guide.shape[0],
        )
        # [Cy, 2 B, H, W] -> twice [B, Cy, H, W]
        first, second = filtered.unflatten(1, (guide.shape[0], 2)).permute(2, 1, 0, 3, 4).unbind()
        return affinity_logits(self.bnu(first), self.bnv(second), self.bconv_UP(guide))


class A2U(Upsampler):
    """Reassembly by kernels that the guide alone predicts: dynamic, shared by the channels, rank 1 (dynamic-cs-d).

    x: [B, C, H, W], guide: [B, Cy, 2H, 2W] -> [B, C, 2H, 2W]; scale 2, 32 divides Cy.
    out = window_assemble(x, kernel_gen(guide)).
    State dict: kernel_gen.{bnu,bnv}.0, kernel_gen.bconv_{UP,U,V}.1, each weight and bias, as detection-with-upsamplers.
    Initialised as PyTorch does.
    """

    guided = True
    fused_ops = ("window_assemble",)
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
        backend = resolve("window_assemble", self.backend, x)
        # Autocast would assemble in half precision and return it.
        kernels = self.kernel_gen(guide, backend == "fused").to(x.dtype)
        return window_assemble(x, kernels, self.k_up, self.scale, backend=backend).to(x.dtype)
