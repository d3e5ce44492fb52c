"""DySample: upsampling by learned point sampling (Liu et al., ICCV 2023)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops import sample_moved, sample_moves, sub_pixel_centres
from upbench.upsamplers._base import Upsampler, zero_bias


class DySample(Upsampler):
    """Takes one bilinear sample for each output pixel and group of channels, at a predicted offset from the bilinear position.

    Args:
        channels: channels C of x.
        scale: output pixels per low-resolution pixel, whole.
        groups: groups of channels with offsets each; divide C.
        style: lp, linear, then pixel shuffle; pl, pixel shuffle, then linear, which needs scale^2 to divide C.
        dynamic: whether the range of the offsets is predicted too.
        scope_bias: whether the layer that predicts the range has a bias.

    position = parent + sub-pixel centre + offset, offset = 0.25 * linear(x), or 0.5 * sigmoid(scope(x)) * linear(x).
    Positions outside the map are clamped onto it. Zero offsets give bilinear interpolation.
    State dict: init_pos (buffer), offset.{weight,bias}, scope.weight with dynamic; scope.bias only with scope_bias
    (the layout of detection-with-upsamplers). Initialised offset N(0, 0.001), scope 0.
    """

    def __init__(
        self,
        channels: int,
        scale: int = 2,
        *,
        groups: int = 4,
        style: str = "lp",
        dynamic: bool = False,
        scope_bias: bool = False,
    ) -> None:
        super().__init__(channels, scale)
        self.groups, self.style, self.dynamic = groups, style, dynamic
        area = scale * scale
        inputs, outputs = (channels, 2 * groups * area) if style == "lp" else (channels // area, 2 * groups)
        self.offset = nn.Conv2d(inputs, outputs, 1)
        nn.init.normal_(self.offset.weight, std=0.001)
        zero_bias(self.offset)
        if dynamic:
            self.scope = nn.Conv2d(inputs, outputs, 1, bias=scope_bias)
            nn.init.zeros_(self.scope.weight)
            zero_bias(self.scope)
        centres = sub_pixel_centres(scale, torch.empty(0))
        self.register_buffer("init_pos", centres.repeat(1, groups, 1, 1).view(1, -1, 1, 1))

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Give `scope` a bias where the weights have one, and take it away where not: both have been released."""
        if self.dynamic and "scope.bias" in state and self.scope.bias is None:
            self.scope.bias = nn.Parameter(self.offset.weight.new_zeros(self.offset.out_channels))
        if self.dynamic and "scope.bias" not in state and self.scope.bias is not None:
            self.scope.bias = None
        return state

    def start_as_bilinear(self) -> None:
        """Set the weights of the offsets to zero, so that the first result is bilinear interpolation, align_corners=False."""
        nn.init.zeros_(self.offset.weight)
        zero_bias(self.offset)

    def set_offsets(self, reach: str, generator: torch.Generator) -> None:
        """Draw the weights of the offsets, so that these are as large as in use.

        Args:
            reach: "trained" for 0.25 low-resolution pixels, the range within which neighbours do not cross, "max" for 1;
                root mean square on features of unit variance.
            generator: of the random numbers.
        """
        factor = 1 if reach == "trained" else 4
        with torch.no_grad():
            self.offset.weight.normal_(0, factor * self.offset.in_channels**-0.5, generator=generator)

    def offsets(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 2*{self.groups} sH sW"]:
        """Predict the offsets in low-resolution pixels, those along x of all groups before those along y."""
        return sample_moves(x, self.offset, self._scope(), self.scale, self.style == "pl", backend=self.backend)

    def _scope(self) -> nn.Conv2d | None:
        return self.scope if self.dynamic else None

    def upsample(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C sH sW"]:
        # The buffer init_pos is kept for released checkpoints alone.
        given = (self.offset, self._scope(), self.groups, self.scale, self.style == "pl")
        return sample_moved(x, *given, backend=self.backend)
