"""FADE: fusing the assets of decoder and encoder (Lu et al., ECCV 2022; FADE-Lite: IJCV 2024)."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from upbench.ops import conv1x1, gate_fuse, interpolate, softmax_over_taps, window_assemble
from upbench.upsamplers._base import Upsampler, xavier

# The released H2L module's own keys. The layouts are the same: its shared kernel is [k_up^2, embedding, 3, 3] too.
H2L = {
    "kernel_generator.conv1_en.weight": "ker_generator.compressor_en.weight",
    "kernel_generator.conv1_en.bias": "ker_generator.compressor_en.bias",
    "kernel_generator.conv1_de.weight": "ker_generator.compressor_de.weight",
    "kernel_generator.conv2_kernels": "ker_generator.content_encoder.weight",
    "kernel_generator.conv2_bias": "ker_generator.content_encoder.bias",
}


class KernelGenerator(nn.Module):
    """Semi-shift convolution: one 3x3 convolution over both maps, summed at high resolution.

    guide: [B, Cy, 2H, 2W], x: [B, C, H, W] -> logits [B, k_up^2, 2H, 2W].
    logits = conv(compress(guide)) + nearest(conv(compress(x))). conv is one module with one bias, so the bias counts
    twice. State dict: compressor_en.{weight,bias}, compressor_de.weight, content_encoder.{weight,bias}.
    """

    def __init__(self, channels: int, guide_channels: int, taps: int, embedding: int, depthwise: bool) -> None:
        super().__init__()
        self.compressor_en = nn.Conv2d(guide_channels, embedding, 1)
        self.compressor_de = nn.Conv2d(channels, embedding, 1, bias=False)
        self.content_encoder = nn.Conv2d(embedding, taps, 3, padding=1, groups=taps if depthwise else 1)

    def forward(self, guide: Tensor, x: Tensor, backend: str = "eager") -> Tensor:
        fine = self.content_encoder(conv1x1(self.compressor_en, guide, backend=backend))
        coarse = self.content_encoder(conv1x1(self.compressor_de, x, backend=backend))
        return fine + interpolate(coarse, fine.shape[2], fine.shape[3], "nearest")


class FADE(Upsampler):
    """A k_up x k_up kernel per output pixel from guide and content, and a gate that lets the guide through.

    x: [B, C, H, W], guide: [B, Cy, 2H, 2W] -> [B, C, 2H, 2W]; scale 2; the gate needs Cy = C.
    up = window_assemble(x, softmax(kernel_generator(guide, x))), out = g * guide + (1 - g) * up with
    g = nearest(sigmoid(conv(x))), one value per low-resolution pixel; without gate, out = up.
    lite: the compressors go straight to k_up^2 channels and the 3x3 convolution is depthwise; embedding has no use.
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
        super().__init__()
        self.channels, self.guide_channels, self.scale, self.k_up = channels, guide_channels, scale, k_up
        taps = k_up * k_up
        self.gate_generator = nn.Sequential(OrderedDict(conv=nn.Conv2d(channels, 1, 1))) if gate else None
        self.ker_generator = KernelGenerator(channels, guide_channels, taps, taps if lite else embedding, lite)
        xavier(self)

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The released H2L module has other keys for the same weights."""
        return {H2L.get(key, key): value for key, value in state.items()}

    def upsample(self, x: Tensor, guide: Tensor) -> Tensor:
        logits = self.ker_generator(guide, x, self.backend)
        weights = softmax_over_taps(logits, dim=1, backend=self.backend).to(x.dtype)
        del logits
        up = window_assemble(x, weights.unsqueeze(1), self.k_up, self.scale, backend=self.backend)
        if self.gate_generator is None:
            return up
        gate = interpolate(self.gate_generator(x).sigmoid(), guide.shape[2], guide.shape[3], "nearest")
        return gate_fuse(guide, up, gate, reuse_up=True, backend=self.backend)
