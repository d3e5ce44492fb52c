"""CARAFE: content-aware reassembly of features (Wang et al., ICCV 2019)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops import conv1x1, convolution, reassemble
from upbench.upsamplers._base import Upsampler, xavier


class CARAFE(Upsampler):
    """Reassembles x by a k_up x k_up kernel for every output pixel, predicted from the content.

    Args:
        channels: channels C of x.
        scale: output pixels per low-resolution pixel, whole.
        k_up: side of the reassembly kernel, odd.
        k_enc: side of the content encoder's kernel, odd.
        groups: groups of channels with a kernel each; divide C.
        compressed: channels after the compressor.
        dilation: dilation of the content encoder.

    weights = softmax(pixel_shuffle(content_encoder(channel_compressor(x)))), out = window_assemble(x, weights).
    State dict: channel_compressor.{weight,bias}, content_encoder.{weight,bias}, as mmcv's CARAFEPack.
    Initialised Xavier-uniform, content_encoder N(0, 0.001), biases 0, as CARAFEPack.init_weights does.
    Source: CARAFE, eq. 2-4.
    """

    def __init__(
        self,
        channels: int,
        scale: int = 2,
        *,
        k_up: int = 5,
        k_enc: int = 3,
        groups: int = 1,
        compressed: int = 64,
        dilation: int = 1,
    ) -> None:
        super().__init__(channels, scale)
        self.k_up, self.groups = k_up, groups
        self.channel_compressor = nn.Conv2d(channels, compressed, 1)
        self.content_encoder = nn.Conv2d(
            compressed,
            scale * scale * k_up * k_up * groups,
            k_enc,
            padding=(k_enc - 1) // 2 * dilation,
            dilation=dilation,
        )
        xavier(self)
        nn.init.normal_(self.content_encoder.weight, std=0.001)

    def upsample(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C sH sW"]:
        compressed = conv1x1(self.channel_compressor, x, backend=self.backend)
        logits = convolution(self.content_encoder, compressed, backend=self.backend)
        # The released module forces the mask to the dtype that autocast gives the logits.
        return reassemble(x, logits, self.k_up, self.scale, dtype=logits.dtype, backend=self.backend)
