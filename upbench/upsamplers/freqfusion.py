"""FreqFusion: frequency-aware feature fusion (Chen et al., TPAMI 2024)."""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops import convolution, interpolate, mirrored_assemble, sample_points, softmax_over_taps, window_assemble
from upbench.upsamplers._base import Upsampler, xavier
from upbench.upsamplers._offsets import LocalSimilarityOffsets


def _window(kernel: int, tapered: bool) -> Tensor:
    """A Hamming window of kernel x kernel, or ones: [1, 1, kernel, kernel]."""
    bell = torch.hamming_window(kernel, periodic=False) if tapered else torch.ones(kernel)
    return torch.outer(bell, bell)[None, None]


class FreqFusion(Upsampler):
    """Low-pass kernels enlarge x, high-pass kernels sharpen the guide; both are predicted from both maps.

    x: [B, C, H, W], guide: [B, Cy, H', W'] -> (enlarged x [B, C, H', W'], sharpened guide [B, Cy, H', W']).
    Scale 2, any with semi_conv off. The caller adds or concatenates the two maps.
    N(m) = softmax(m) times a Hamming window, divided by the sum; R_s is CARAFE's reassembly; h, l are compressed.
    high_pass: a = E2(h), h <- 2 h - R_1(h, N(a)); low_res_fusion: b = E(h), m = b + R_2(E(l), N(b)), a <- a + R_2(E2(l), N(m)),
    without it nearest interpolation stands for R_2; out = R_2(x, N(m)), sharpened = y + (y - R_1(y, N(a))).
    semi_conv off: z = resize(l) + h, m = E(z), a = E2(z), out = R_1(resize(x), N(m)). residual off: only y - R_1(y, N(a)).
    resample: out is read once more at offsets, see `LocalSimilarityOffsets`.
    State dict: {hr,lr}_channel_compressor, content_encoder, content_encoder2 (with high_pass), dysampler (with resample),
    hamming_lowpass, hamming_highpass (buffers). offset_init: "released" draws the offset generator with everything
    else, "intended" as its own code does, which the release then overwrites.
    Initialised Xavier-uniform, both encoders N(0, 0.001), biases 0.
    """

    guide_kinds = ("feature",)
    hamming_lowpass: Tensor
    hamming_highpass: Tensor

    def __init__(
        self,
        channels: int,
        guide_channels: int,
        scale: float = 2,
        *,
        compressed: int = 64,
        k_low: int = 5,
        k_high: int = 3,
        k_enc: int = 3,
        high_pass: bool = True,
        low_res_fusion: bool = True,
        semi_conv: bool = True,
        residual: bool = True,
        hamming: bool = True,
        resample: bool = False,
        resample_groups: int = 4,
        resample_norm: bool = True,
        similarity: str = "concat",
        border: str = "zero",
        resize: str = "nearest",
        offset_init: str = "released",
    ) -> None:
        super().__init__(channels, scale, guide_channels)
        self.k_low, self.k_high, self.border, self.resize = k_low, k_high, border, resize
        self.high_pass, self.low_res_fusion, self.semi_conv, self.residual = (
            high_pass,
            low_res_fusion,
            semi_conv,
            residual,
        )
        self.hr_channel_compressor = nn.Conv2d(guide_channels, compressed, 1)
        self.lr_channel_compressor = nn.Conv2d(channels, compressed, 1)
        self.content_encoder = nn.Conv2d(compressed, k_low**2, k_enc, padding=k_enc // 2)
        if high_pass:
            self.content_encoder2 = nn.Conv2d(compressed, k_high**2, k_enc, padding=k_enc // 2)
        if resample:
            self.dysampler = LocalSimilarityOffsets(compressed, k_enc, resample_groups, resample_norm, similarity)
        self.resample = resample
        if border == "reflect":
            self.least_size = max(k_low, k_high) // 2 + 1
        self.register_buffer("hamming_lowpass", _window(k_low, hamming))
        self.register_buffer("hamming_highpass", _window(k_high, hamming))
        self._initialise(offset_init)

    def _initialise(self, offset_init: str) -> None:
        xavier(self)
        for encoder in (self.content_encoder, self.content_encoder2) if self.high_pass else (self.content_encoder,):
            nn.init.normal_(encoder.weight, std=0.001)
        if self.resample and offset_init == "intended":
            self.dysampler.initialise()

    def _zeros(self, maps: tuple[Tensor, ...], size: tuple[int, int], nothing: Tensor) -> tuple[Tensor, Tensor]:
        return super()._zeros(maps, size, nothing), torch.zeros_like(maps[1]) + nothing

    def kernels(self, logits: Tensor, window: Tensor) -> Tensor:
        """N: softmax over the taps, tapered, summing to one. [B, K, h, w] -> the same."""
        weight = softmax_over_taps(logits, 1, backend=self.backend) * window.to(logits.dtype).view(1, -1, 1, 1)
        return (weight / weight.sum(1, keepdim=True)).to(logits.dtype)

    def low(self, logits: Tensor) -> Tensor:
        return self.kernels(logits, self.hamming_lowpass)

    def high(self, logits: Tensor) -> Tensor:
        return self.kernels(logits, self.hamming_highpass)

    def reassemble(self, x: Tensor, weight: Tensor, kernel: int, scale: int) -> Tensor:
        """R: the window around each output pixel's parent, by its kernel."""
        x = x.to(weight.dtype)
        if self.border == "reflect":
            return mirrored_assemble(x, weight, kernel, scale, backend=self.backend)
        return window_assemble(x, weight.unsqueeze(1), kernel, scale, backend=self.backend)

    def logits(self, h: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """m and a of the low-pass and high-pass kernels, and the compressed guide as it was left."""
        k_low, k_high = self.k_low, self.k_high
        encode = partial(convolution, self.content_encoder, backend=self.backend)
        encode2 = partial(convolution, self.content_encoder2, backend=self.backend) if self.high_pass else None
        if not self.semi_conv:
            z = self.enlarged(coarse, h) + h
            return encode(z), None if encode2 is None else encode2(z), h
        if not self.low_res_fusion:
            m = encode(h) + self.enlarged(encode(coarse), h, "nearest")
            return m, None if encode2 is None else encode2(h) + self.enlarged(encode2(coarse), h, "nearest"), h
        assert encode2 is not None
        a = encode2(h)
        h = 2 * h - self.reassemble(h, self.high(a), k_high, 1)
        b = encode(h)
        m = b + self.reassemble(encode(coarse), self.low(b), k_low, 2)
        return m, a + self.reassemble(encode2(coarse), self.low(m), k_low, 2), h

    def enlarged(self, x: Tensor, like: Tensor, mode: str | None = None) -> Tensor:
        return interpolate(x, like.shape[2], like.shape[3], mode or self.resize)

    def upsample(
        self, x: Float[Tensor, "B C H W"], guide: Float[Tensor, "B Cy oH oW"]
    ) -> tuple[Float[Tensor, "B C oH oW"], Float[Tensor, "B Cy oH oW"]]:
        h = convolution(self.hr_channel_compressor, guide, backend=self.backend)
        coarse = convolution(self.lr_channel_compressor, x, backend=self.backend)
        m, a, h = self.logits(h, coarse)
        weight = self.low(m)
        if self.semi_conv:
            out = self.reassemble(x, weight, self.k_low, 2)
        else:
            out = self.reassemble(self.enlarged(x, guide), weight, self.k_low, 1)
        if a is not None:
            smooth = self.reassemble(guide, self.high(a), self.k_high, 1)
            guide = 2 * guide - smooth if self.residual else guide - smooth
        if self.resample:
            points = self.dysampler.points(h, coarse, self.backend)
            out = sample_points(out, points, "border", backend=self.backend).squeeze(2)
        return out, guide
