"""The upscaling of the mask decoders of SAM (Kirillov et al., ICCV 2023) and SAM 2 (Ravi et al., ICLR 2025)."""

from upbench.cards.card import Card, Guide, Macs, Paper, Param, Setting


def _decoder(s: Setting) -> int:
    c, half, last = s.channels, s.channels // 4, s.channels // 8
    return 4 * c * half + half + 2 * half + 4 * half * last + last


def _decoder_macs(s: Setting) -> int:
    c = s.channels
    return (4 * c * (c // 4) + 16 * (c // 4) * (c // 8)) * s.low


def _rules(s: Setting) -> list[str]:
    if s.channels % 8 == 0:
        return []
    return [f"channels is {s.channels}, but the decoder leaves an eighth of them; use a multiple of 8"]


def _half(s: Setting) -> tuple[int, int]:
    return (s.out_height + 1) // 2, (s.out_width + 1) // 2


PARAMS = (Param("activation", "gelu", "after each transposed convolution", "activation", choices=("gelu", "relu")),)
NOTES = (
    "Taps of the transposed convolutions do not overlap (kernel and stride are 2): sub-pixels do not see each other, and a "
    "grid of 4x4 in the output is by design.",
    "The result has an eighth of the channels.",
)

CARDS = (
    Card(
        name="sam-mask",
        module="upbench.upsamplers.sam:SAMMask",
        summary="two transposed convolutions of 2x2, to an eighth of the channels",
        paper=Paper(
            "Segment Anything", "ICCV", 2023, "facebookresearch/segment-anything dca509f (MaskDecoder)", "Apache-2.0"
        ),
        params=PARAMS,
        scales="4",
        output_channels=lambda s: s.channels // 8,
        rules=_rules,
        count_params=_decoder,
        count_macs=lambda s: Macs(conv=_decoder_macs(s)),
        notes=NOTES,
    ),
    Card(
        name="sam2-mask",
        module="upbench.upsamplers.sam:SAM2Mask",
        summary="sam-mask with encoder features of 4 and 2 times the resolution added",
        paper=Paper(
            "SAM 2: Segment Anything in Images and Videos",
            "ICLR",
            2025,
            "facebookresearch/sam2 2b90b9f (MaskDecoder, use_high_res_features)",
            "Apache-2.0",
        ),
        params=PARAMS,
        scales="4",
        guides=(Guide("feature"), Guide("feature", size=_half)),
        output_channels=lambda s: s.channels // 8,
        rules=_rules,
        count_params=lambda s: _decoder(s) + (s.guide_channels + 1) * (s.channels // 8 + s.channels // 4),
        count_macs=lambda s: Macs(
            conv=_decoder_macs(s) + s.guide_channels * (16 * (s.channels // 8) + 4 * (s.channels // 4)) * s.low
        ),
        notes=(
            *NOTES,
            "Two guides: the feature at the output's size, then the one at half of it. The release applies conv_s0 and conv_s1 "
            "once per image, in its image encoder; here they are part of the call.",
        ),
    ),
)
