"""FADE: fusing the assets of decoder and encoder (Lu et al., ECCV 2022; FADE-Lite: IJCV 2024)."""

from __future__ import annotations

from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops import conv1x1, convolution, reassemble
from upbench.upsamplers._base import Upsampler, xavier

H2L = {
    "kernel_generator.conv1_en.weight": "ker_generator.compressor_en.weight",
    "kernel_generator.conv1_en.bias": "ker_generator.compressor_en.bias",
    "kernel_generator.conv1_de.weight": "ker_generator.compressor_de.weight",
    "kernel_generator.conv2_kernels": "ker_generator.content_encoder.weight",
    "kernel_generator.conv2_bias": "ker_generator.content_encoder.bias",
}
"""The released H2L module's keys -> ours. The layouts are the same: its shared kernel is [k_up^2, embedding, 3, 3] too."""


class KernelGenerator(nn.Module):
    """Semi-shift convolution: one 3x3 convolution over both maps, summed at high resolution.

    Args:
        channels: channels C of x.
        guide_channels: channels Cy of the guide.
        taps: outputs, k_up^2.
        embedding: channels after the compressors.
        depthwise: whether the 3x3 convolution is depthwise; embedding must then be taps.

    logits = conv(compress(guide)) + nearest(conv(compress(x))). conv is one module with one bias, so the bias counts
    twice. State dict: compressor_en.{weight,bias}, compressor_de.weight, content_encoder.{weight,bias}.
    """

    def __init__(self, channels: int, guide_channels: int, taps: int, embedding: int, depthwise: bool) -> None:
        super().__init__()
        self.compressor_en = nn.Conv2d(guide_channels, embedding, 1)
        self.compressor_de = nn.Conv2d(channels, embedding, 1, bias=False)
        self.content_encoder = nn.Conv2d(embedding, taps, 3, padding=1, groups=taps if depthwise else 1)

    def forward(
        self, guide: Float[Tensor, "B Cy sH sW"], x: Float[Tensor, "B C H W"], backend: str = "eager"
    ) -> Float[Tensor, "B T sH sW"]:
        """Predict the logits of the T taps of every output pixel."""
        coarse = convolution(self.content_encoder, conv1x1(self.compressor_de, x, backend=backend), backend=backend)
        hidden = conv1x1(self.compressor_en, guide, backend=backend)
        return convolution(self.content_encoder, hidden, coarse, backend=backend)


class FADE(Upsampler):
    """Reassembles x by a k_up x k_up kernel for every output pixel, from guide and content, and lets the guide through a gate.

    Args:
        channels: channels C of x.
        guide_channels: channels Cy of the guide; C where there is a gate.
        scale: 2.
        k_up: side of the reassembly kernel, odd.
        embedding: channels after the compressors.
        gate: whether the guide is mixed into the result.
        lite: whether the compressors go straight to k_up^2 channels and the 3x3 convolution is depthwise; embedding has
            then no use.

    up = window_assemble(x, softmax(kernel_generator(guide, x))), out = g * guide + (1 - g) * up with
    g = nearest(sigmoid(conv(x))), one value per low-resolution pixel; without gate, out = up.
    This is the L2H form of the release, which equals the H2L form of the paper.
    State dict: ker_generator.* and, with gate, gate_generator.conv.{weight,bias}.
    Initialised Xavier-uniform, biases 0, as the release's L2H modules.
    """

    guided = True
    scale: int

    def __init__(
        self,
        channels: int,
        guide_channels: int,
        scale: int = 2,
        *,
        k_up: int = 5,
        embedding: int = 64,
        gate: bool = True,
        lite: bool = False,
    ) -> None:
        super().__init__(channels, scale, guide_channels)
        self.k_up = k_up
        taps = k_up * k_up
        self.gate_generator = nn.Sequential(OrderedDict(conv=nn.Conv2d(channels, 1, 1))) if gate else None
        self.ker_generator = KernelGenerator(channels, guide_channels, taps, taps if lite else embedding, lite)
        xavier(self)

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the keys of the released H2L module, whose weights are the same."""
        return {H2L.get(key, key): value for key, value in state.items()}

    def upsample(self, x: Float[Tensor, "B C H W"], guide: Float[Tensor, "B Cy sH sW"]) -> Float[Tensor, "B C sH sW"]:
        logits = self.ker_generator(guide, x, self.backend)
        gate = None if self.gate_generator is None else self.gate_generator(x).sigmoid()
        mixed = None if gate is None else guide
        return reassemble(
            x, logits.unsqueeze(1), self.k_up, self.scale, guide=mixed, gate=gate, dtype=x.dtype, backend=self.backend
        )
