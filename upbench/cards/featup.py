"""FeatUp's joint bilateral upsampling (Fu et al., ICLR 2024)."""

import math

from upbench.cards.card import ANY_IMAGE, IMAGE, Card, Macs, Paper, Param, Setting

STAGES = 4


def _stage_params(s: Setting) -> int:
    taps, d, g = (2 * s["radius"] + 1) ** 2, s["key_dim"], s.guide_channels
    return 2 + g * d + d + d * d + d + (taps + g) * taps + taps + taps * taps + taps


def _stage_macs(s: Setting, pixels: int) -> Macs:
    taps, d, g = (2 * s["radius"] + 1) ** 2, s["key_dim"], s.guide_channels
    conv = g * d + d * d + (taps + g) * taps + taps * taps
    return Macs(conv=conv * pixels, gather=(taps * d + taps * s.channels + 16 * s.channels) * pixels)


def _stack_macs(s: Setting) -> Macs:
    # Each stage has four times the pixels of the one before: 4 + 16 + 64 + 256.
    stages = _stage_macs(s, s.low * sum(4**n for n in range(1, STAGES + 1)))
    return Macs(conv=stages.conv + s.channels**2 * s.high, gather=stages.gather)


PARAMS = (
    Param("radius", 3, "of the window, in output pixels", "radius", minimum=1),
    Param("key_dim", 32, "channels of the image's keys", "key_dim", minimum=1),
)
OPS = ("mirrored_similarity", "mirrored_assemble")
PAPER = Paper(
    "FeatUp: A Model-Agnostic Framework for Features at Any Resolution",
    "ICLR",
    2024,
    "mhamilton723/FeatUp 6b5a6c0",
    "MIT",
)
NOTES = (
    "A tenth of a learned correction is added to the weights after they were made to sum to one: they then neither sum to "
    "one nor stay positive.",
    "The window is 7 output pixels, on the bicubically enlarged map; it is not 7 pixels of x.",
    "The spatial sigma is in units of the radius.",
    "The released op has a CUDA form without bfloat16 and a scalar loop for the CPU, and importing it seeds torch.",
    "Dropout of a tenth in the image's keys and the correction, and of a fifth before the stack's last convolution, in training.",
)

CARDS = (
    Card(
        name="jbu",
        module="upbench.upsamplers.featup:JBU",
        fused_ops=OPS,
        summary="averages the enlarged map over pixels that are near and alike in the image",
        paper=PAPER,
        params=PARAMS,
        guides=IMAGE,
        scales="any",
        any_size=True,
        least_size=lambda s: math.ceil((s["radius"] + 1) / s.scale),
        count_params=_stage_params,
        count_macs=lambda s: _stage_macs(s, s.high),
        notes=NOTES,
    ),
    Card(
        name="jbu-stack",
        module="upbench.upsamplers.featup:JBUStack",
        fused_ops=OPS,
        summary="four stages of jbu and a residual convolution, 16 times",
        paper=PAPER,
        params=PARAMS,
        guides=ANY_IMAGE,
        scales="16",
        least_size=lambda s: math.ceil((s["radius"] + 1) / 2),
        count_params=lambda s: STAGES * _stage_params(s) + s.channels**2 + s.channels,
        count_macs=_stack_macs,
        notes=(
            *NOTES,
            "Always 16 times: features of patches of 14 come out at 256x256 for an image of 224x224, whose pooling to the "
            "stages then enlarges it.",
        ),
    ),
)
