"""The upscaling of Segment Anything's mask decoder (Kirillov et al., ICCV 2023; Ravi et al., ICLR 2025)."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from upbench.upsamplers._base import Upsampler
from upbench.upsamplers._norms import ChannelLayerNorm

ACTIVATIONS = {"gelu": nn.GELU, "relu": nn.ReLU}


class _Decoder(Upsampler):
    """The layers of both decoders. State dict: output_upscaling.{0,1,3}.{weight,bias}. Initialised as PyTorch's."""

    def __init__(self, channels: int, scale: int = 4, *, activation: str = "gelu") -> None:
        super().__init__(channels, scale)
        self.out_channels = channels // 8
        act = ACTIVATIONS[activation]
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(channels, channels // 4, 2, stride=2),
            ChannelLayerNorm(channels // 4),
            act(),
            nn.ConvTranspose2d(channels // 4, channels // 8, 2, stride=2),
            act(),
        )

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of a whole mask decoder only the upscaling is ours."""
        state = {key.removeprefix("sam_").removeprefix("mask_decoder."): value for key, value in state.items()}
        own = ("output_upscaling.", "conv_s0.", "conv_s1.")
        return {key: value for key, value in state.items() if key.startswith(own)} or state


class SAMMask(_Decoder):
    """Two transposed convolutions of 2x2 without overlap, C to C/4 to C/8 channels.

    x: [B, C, H, W] -> [B, C/8, 4H, 4W]; scale 4, 8 divides C. out = act(dc2(act(norm(dc1(x))))).
    """

    def upsample(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B oC sH sW"]:
        return self.output_upscaling(x)


class SAM2Mask(_Decoder):
    """`SAMMask` with features of higher resolution added before the norm and before the last activation.

    x: [B, C, H, W], guide: [B, Cy, 4H, 4W], second_guide: [B, Cy, 2H, 2W] -> [B, C/8, 4H, 4W]; scale 4, 8 divides C.
    out = act(dc2(act(norm(dc1(x) + conv_s1(second_guide)))) + conv_s0(guide)).
    State dict: as SAMMask, and conv_s0, conv_s1 {weight,bias}.
    """

    guide_kinds = ("feature", "feature")

    def guide_sizes(self, x_size: Sequence[int], out_size: Sequence[int]) -> list[Sequence[int] | None]:
        return [out_size, [(n + 1) // 2 for n in out_size]]

    def __init__(self, channels: int, guide_channels: int, scale: int = 4, *, activation: str = "gelu") -> None:
        super().__init__(channels, scale, activation=activation)
        self.guide_channels = guide_channels
        self.conv_s0 = nn.Conv2d(guide_channels, channels // 8, 1)
        self.conv_s1 = nn.Conv2d(guide_channels, channels // 4, 1)

    def upsample(
        self, x: Float[Tensor, "B C H W"], guide: Float[Tensor, "B Cy sH sW"], second_guide: Float[Tensor, "B Cy mH mW"]
    ) -> Float[Tensor, "B oC sH sW"]:
        first, norm, act, second, last = self.output_upscaling
        half = act(norm(first(x) + self.conv_s1(second_guide)))
        return last(second(half) + self.conv_s0(guide))
