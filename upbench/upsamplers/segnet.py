"""Max unpooling, as SegNet's decoder does (Badrinarayanan et al., TPAMI 2017)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from upbench.ops import max_unpool
from upbench.upsamplers._base import Upsampler


class MaxUnpool(Upsampler):
    """Every value goes to where the encoder's pooling had its largest; all else is zero.

    x: [B, C, H, W], guide: [B, C, H', W'] with H = H' // kernel and W = W' // kernel -> [B, C, H', W'].
    kernel: the pooling's side and stride; None is the scale. The guide gets no gradient. No state.
    """

    guide_kinds = ("feature",)

    def takes_size(self, x: Tensor, size: tuple[int, int]) -> bool:
        """An odd map: rows and columns that no window of the pooling covers stay zero."""
        return [n // self.kernel for n in size] == list(x.shape[2:])

    def __init__(self, channels: int, guide_channels: int, scale: int = 2, *, kernel: int | None = None) -> None:
        super().__init__(channels, scale, guide_channels)
        self.kernel = kernel or scale

    def upsample(self, x: Float[Tensor, "B C H W"], guide: Float[Tensor, "B C oH oW"]) -> Float[Tensor, "B C oH oW"]:
        return max_unpool(x, guide, self.kernel)
