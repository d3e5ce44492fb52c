"""Convex upsampling, as RAFT does with flow (Teed and Deng, ECCV 2020)."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops import convolution, window_assemble
from upbench.upsamplers._base import Upsampler

KERNEL = 3


class Convex(Upsampler):
    """Every output pixel is a convex combination of the 3x3 pixels around its parent, predicted by a hidden state.

    x: [B, C, H, W], guide: [B, Cy, H, W], at the resolution of x -> [B, C, sH, sW]; integer scale.
    weights = softmax(pixel_shuffle(multiplier * conv(relu(convrelu(guide))))), out = gain * window_assemble(x, weights).
    gain: "s" multiplies by the scale, as flow and disparity in pixels need; 1 is for features.
    State dict: convrelu.0, conv {weight,bias}, as torchvision's MaskPredictor. Initialised as PyTorch's convolutions.
    """

    guide_kinds = ("hidden",)

    def __init__(
        self,
        channels: int,
        guide_channels: int,
        scale: int = 2,
        *,
        hidden: int = 256,
        multiplier: float = 0.25,
        gain: str | int = "s",
    ) -> None:
        super().__init__(channels, scale, guide_channels)
        self.multiplier, self.gain = multiplier, scale if gain == "s" else 1
        self.convrelu = nn.Sequential(nn.Conv2d(guide_channels, hidden, 3, padding=1), nn.ReLU())
        self.conv = nn.Conv2d(hidden, KERNEL**2 * scale * scale, 1)

    def upsample(self, x: Float[Tensor, "B C H W"], guide: Float[Tensor, "B Cy H W"]) -> Float[Tensor, "B C oH oW"]:
        hidden = convolution(self.convrelu, guide, backend=self.backend)
        logits = F.pixel_shuffle(self.multiplier * convolution(self.conv, hidden, backend=self.backend), self.scale)
        weights = logits.softmax(1).to(x.dtype).unsqueeze(1)
        return window_assemble(self.gain * x, weights, KERNEL, self.scale, backend=self.backend)

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The original code calls the two convolutions mask.0 and mask.2."""
        names = {"mask.0.": "convrelu.0.", "mask.2.": "conv."}
        for theirs, ours in names.items():
            state = {key.replace(theirs, ours): value for key, value in state.items()}
        return state
