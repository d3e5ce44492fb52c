"""Max unpooling (SegNet, Badrinarayanan et al., TPAMI 2017)."""

from upbench.cards.card import FEATURE, Card, Macs, Paper, Param, Setting


def _rules(s: Setting) -> list[str]:
    found = []
    if s["kernel"] is not None and s["kernel"] != s.scale:
        found.append(
            f"params.kernel is {s['kernel']}, but the scale is {s.scale}: windows that overlap or leave gaps would give two "
            f"values one place; leave params.kernel out, or set it to the scale"
        )
    if s.guide_channels != s.channels:
        found.append(
            f"guide_channels is {s.guide_channels}, but maxunpool pools every channel of the guide for the same channel of "
            f"x; make it {s.channels}"
        )
    return found


CARDS = (
    Card(
        name="maxunpool",
        module="upbench.upsamplers.segnet:MaxUnpool",
        summary="puts every value where the encoder's pooling had its largest, zero elsewhere",
        paper=Paper(
            "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image Segmentation",
            "TPAMI",
            2017,
            "pytorch MaxPool2d, MaxUnpool2d",
            "BSD-3-Clause",
        ),
        params=(
            Param(
                "kernel", None, "side and stride of the pooling; null is the scale", "kernel_size", minimum=1, kind=int
            ),
        ),
        guides=FEATURE,
        guide_gradient=False,
        rounding="rounding makes equals of a window's largest values, and another pixel is then the first of them",
        rules=_rules,
        count_params=lambda s: 0,
        count_macs=lambda s: Macs(),
        notes=(
            "Of equal values in a window the first in row-major order wins, and after a ReLU many windows are all zero: the "
            "rule is visible in the output.",
            "The guide acts through indices alone and gets no gradient.",
            "Overlapping poolings (the 3x3 one of stride 2 of ResNet) can name one place twice; torch then keeps the last on a "
            "CPU and any of them on a GPU. upbench refuses them.",
            "Rows and columns of an odd guide that no window covers stay zero.",
        ),
    ),
)
