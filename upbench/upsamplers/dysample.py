"""DySample: upsampling by learned point sampling (Liu et al., ICCV 2023)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops import conv1x1, coordinate_dtype, parents, sample_points
from upbench.upsamplers._base import Upsampler, zero_bias


def _shuffled(x: Float[Tensor, "B D H W"], scale: int) -> Float[Tensor, "B _ {scale}*H {scale}*W"]:
    """`F.pixel_shuffle`, which on a CPU takes four times as long as a copy in another order."""
    if x.device.type != "cpu" or torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined]
        return F.pixel_shuffle(x, scale)
    b, _, h, w = x.shape
    return x.unflatten(1, (-1, scale, scale)).permute(0, 1, 4, 2, 5, 3).reshape(b, -1, scale * h, scale * w)


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
        centres = self._centres(torch.empty(0))
        self.register_buffer("init_pos", centres.repeat(1, groups, 1, 1).view(1, -1, 1, 1))

    def _centres(self, like: Tensor) -> Float[Tensor, "2 1 s s"]:
        """Centre of each sub-pixel relative to its parent's, (x, y) in low-resolution pixels."""
        step = torch.arange(self.scale, device=like.device, dtype=coordinate_dtype(like.dtype))
        centre = (step + 0.5) / self.scale - 0.5
        return torch.stack((centre.expand(self.scale, -1), centre.view(-1, 1).expand(-1, self.scale))).unsqueeze(1)

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
        b, _, h, w = x.shape
        area = self.scale * self.scale
        # "pl" shuffles before it projects. A pointwise layer does not mind where the pixels lie: the few channels that it
        # makes are shuffled instead.
        source = x if self.style == "lp" else x.reshape(b, -1, area * h, w)
        offset = conv1x1(self.offset, source, backend=self.backend)
        if self.dynamic:
            offset = offset * conv1x1(self.scope, source, backend=self.backend).sigmoid() * 0.5
        else:
            offset = offset * 0.25
        return _shuffled(offset.reshape(b, -1, h, w), self.scale)

    def upsample(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C sH sW"]:
        b, _, h, w = x.shape
        # The buffer init_pos is kept for released checkpoints; the grid is rebuilt so that a cast of the module
        # to half precision does not round it.
        base = parents(h, w, self.scale, x) + self._centres(x).squeeze(1).repeat(1, h, w)
        offsets = self.offsets(x).to(base.dtype).view(b, 2, self.groups, h * self.scale, w * self.scale)
        points = (offsets + base.unsqueeze(1)).permute(0, 2, 3, 4, 1).unsqueeze(2)
        return sample_points(x, points, "border", backend=self.backend).squeeze(2)
