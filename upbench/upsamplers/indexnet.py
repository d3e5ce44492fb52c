"""IndexNet: learned indices, read from the encoder, that guide upsampling (Lu et al., ICCV 2019)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops import convolution, modulate
from upbench.upsamplers._base import Upsampler

BRANCHES = ("indexnet1", "indexnet2", "indexnet3", "indexnet4")
"""Released names of the blocks of o2o and m2o, one for each sub-pixel."""


class IndexNet(Upsampler):
    """Scales the nearest low-resolution pixel by indices in (0, 1) that the guide alone predicts.

    Args:
        channels: channels C of x.
        guide_channels: channels Cy of the guide; C for o2o and m2o.
        scale: 2.
        kind: hin, one index for all channels; o2o, one for each channel from that channel; m2o, one for each from all.
        nonlinear: whether a block is two convolutions with batch norm and ReLU6 between, rather than one.
        context: whether a block reads 4x4 pixels of the guide, rather than 2x2.

    out = sigmoid(pixel_shuffle(block(guide))) * nearest(x).
    State dict: hin indexnet.*, others indexnet{1..4}.*, sub-pixels row by row; nonlinear 0.weight, 1 (BatchNorm),
    3.weight, linear 0.weight (hin: indexnet.weight). Initialised as PyTorch does.
    """

    guided = True
    scale: int

    def __init__(
        self,
        channels: int,
        guide_channels: int,
        scale: int = 2,
        *,
        kind: str = "hin",
        nonlinear: bool = True,
        context: bool = True,
    ) -> None:
        super().__init__(channels, scale, guide_channels)
        self.kind = kind
        groups = guide_channels if kind == "o2o" else 1
        if kind == "hin":
            block = _block(guide_channels, 2 * guide_channels, 4, groups, nonlinear, context)
            self.indexnet = block if nonlinear else block[0]
        else:
            for branch in BRANCHES:
                block = _block(guide_channels, guide_channels, guide_channels, groups, nonlinear, context)
                self.add_module(branch, block)

    def index(self, guide: Float[Tensor, "B Cy sH sW"]) -> Float[Tensor, "B N sH sW"]:
        """Predict the decoder's index map: of N = 1 channel for hin, of N = Cy for o2o and m2o."""
        if self.kind == "hin":
            logits = convolution(self.indexnet, guide, backend=self.backend)
        else:
            # Channel c of branch q is sub-pixel q of output channel c.
            blocks = [self.get_submodule(branch) for branch in BRANCHES]
            made = [convolution(block, guide, backend=self.backend) for block in blocks]
            logits = torch.stack(made, 2).flatten(1, 2)
        return F.pixel_shuffle(logits.sigmoid(), self.scale)

    def upsample(self, x: Float[Tensor, "B C H W"], guide: Float[Tensor, "B Cy sH sW"]) -> Float[Tensor, "B C sH sW"]:
        return modulate(x, self.index(guide).to(x.dtype), self.scale)


def _block(inputs: int, hidden: int, outputs: int, groups: int, nonlinear: bool, context: bool) -> nn.Sequential:
    """[B, inputs, 2H, 2W] -> [B, outputs, H, W], logits of the indices."""
    first = nn.Conv2d(
        inputs,
        hidden if nonlinear else outputs,
        kernel_size=4 if context else 2,
        stride=2,
        padding=int(context),
        groups=groups,
        bias=False,
    )
    if not nonlinear:
        return nn.Sequential(first)
    return nn.Sequential(
        first, nn.BatchNorm2d(hidden), nn.ReLU6(), nn.Conv2d(hidden, outputs, 1, groups=groups, bias=False)
    )
