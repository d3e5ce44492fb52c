"""FeatUp: joint bilateral upsampling, one stage and a stack of four (Fu et al., ICLR 2024)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops import interpolate, mirrored_assemble, mirrored_similarity, softmax_over_taps
from upbench.ops.rope import ends, plane
from upbench.upsamplers._base import Upsampler


class JBU(Upsampler):
    """Every output pixel averages the bicubically enlarged map over pixels that are near, and alike in the image.

    x: [B, C, H, W], guide: [B, 3, H', W'], of the output's size, each side larger than radius -> [B, C, H', W'].
    alike = softmax(clamp(exp(range_temp)) * <p(q), p(q + o)>), p = range_proj(guide), border mirrored;
    near = exp(-|o|^2 / (2 sigma_spatial^2)), o in units of the radius; w = alike * near / sum;
    w += 0.1 * fixup_proj(cat(w, guide)), after which w neither sums to one nor stays positive;
    out = mirrored_assemble(bicubic(x), w).
    State dict: range_temp, sigma_spatial, range_proj.{0,3}, fixup_proj.{0,3}. range_temp 0, sigma_spatial 1 at first.
    """

    guide_kinds = ("image",)
    any_size = True

    def __init__(
        self, channels: int, guide_channels: int = 3, scale: float = 2, *, radius: int = 3, key_dim: int = 32
    ) -> None:
        super().__init__(channels, scale, guide_channels)
        self.radius = radius
        self.kernel = 2 * radius + 1
        self.least_size = math.ceil((radius + 1) / scale)
        taps = self.kernel**2
        self.range_temp = nn.Parameter(torch.tensor(0.0))
        self.sigma_spatial = nn.Parameter(torch.tensor(1.0))
        self.range_proj = nn.Sequential(
            nn.Conv2d(guide_channels, key_dim, 1), nn.GELU(), nn.Dropout2d(0.1), nn.Conv2d(key_dim, key_dim, 1)
        )
        self.fixup_proj = nn.Sequential(
            nn.Conv2d(taps + guide_channels, taps, 1), nn.GELU(), nn.Dropout2d(0.1), nn.Conv2d(taps, taps, 1)
        )

    def guide_sizes(self, x_size: Sequence[int], out_size: Sequence[int]) -> list[Sequence[int] | None]:
        return [out_size]

    def alike(self, guide: Tensor) -> Tensor:
        """How alike the pixels of each window are to its centre: [B, kernel^2, H', W'], summing to one."""
        temperature = self.range_temp.exp().clamp(1e-4, 1e4)
        logits = mirrored_similarity(self.range_proj(guide), self.kernel, backend=self.backend)
        return softmax_over_taps(temperature * logits, 1, backend=self.backend)

    def near(self, like: Tensor) -> Tensor:
        """How near each tap is to the centre: [kernel^2, 1, 1]."""
        steps = ends(self.kernel, -1.0, like)
        square = plane(steps, steps).square().sum(0)
        return torch.exp(-square / (2 * self.sigma_spatial.to(square.dtype) ** 2)).view(-1, 1, 1)

    def weights(self, guide: Tensor) -> Tensor:
        """Weights of the window around each output pixel: [B, kernel^2, H', W']."""
        weight = self.alike(guide) * self.near(guide)
        weight = (weight / weight.sum(1, keepdim=True).clamp(min=1e-7)).to(guide.dtype)
        return weight + 0.1 * self.fixup_proj(torch.cat((weight, guide), 1))

    def upsample(
        self, x: Float[Tensor, "B C H W"], guide: Float[Tensor, "B Cy oH oW"], size: tuple[int, int]
    ) -> Float[Tensor, "B C oH oW"]:
        enlarged = interpolate(x, size[0], size[1], "bicubic")
        return mirrored_assemble(enlarged, self.weights(guide).to(enlarged.dtype), self.kernel, backend=self.backend)


class JBUStack(Upsampler):
    """Four stages of `JBU`, each twice as large, then a small residual convolution.

    x: [B, C, H, W], guide: [B, 3, any, any] -> [B, C, 16H, 16W]; scale 16. The image is average pooled to each stage's
    size, which enlarges it where it is smaller. out = z + 0.1 * conv1x1(z).
    State dict: up1 to up4 as JBU, fixup_proj.1.{weight,bias}.
    """

    guide_kinds = ("image",)

    def __init__(
        self, channels: int, guide_channels: int = 3, scale: int = 16, *, radius: int = 3, key_dim: int = 32
    ) -> None:
        super().__init__(channels, scale, guide_channels)
        self.up1, self.up2, self.up3, self.up4 = (
            JBU(channels, guide_channels, radius=radius, key_dim=key_dim) for _ in range(4)
        )
        self.least_size = self.up1.least_size
        self.fixup_proj = nn.Sequential(nn.Dropout2d(0.2), nn.Conv2d(channels, channels, 1))

    def upsample(self, x: Float[Tensor, "B C H W"], guide: Float[Tensor, "B Cy iH iW"]) -> Float[Tensor, "B C oH oW"]:
        for stage in (self.up1, self.up2, self.up3, self.up4):
            stage.backend = self.backend
            size = (2 * x.shape[2], 2 * x.shape[3])
            x = stage(x, F.adaptive_avg_pool2d(guide, size), size=size)
        return x + 0.1 * self.fixup_proj(x)
