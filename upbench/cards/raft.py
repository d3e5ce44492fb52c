"""Convex upsampling (RAFT, Teed and Deng, ECCV 2020)."""

from upbench.cards.card import HIDDEN, Card, Macs, Paper, Param, Setting

TAPS = 9


def _macs(s: Setting) -> Macs:
    kernels = TAPS * int(s.scale) ** 2
    conv = 9 * s.guide_channels * s["hidden"] + s["hidden"] * kernels
    return Macs(conv=conv * s.low, gather=TAPS * s.channels * s.high)


def _params(s: Setting) -> int:
    kernels, hidden = TAPS * int(s.scale) ** 2, s["hidden"]
    return 9 * s.guide_channels * hidden + hidden + hidden * kernels + kernels


CARDS = (
    Card(
        name="convex",
        module="upbench.upsamplers.raft:Convex",
        fused_ops=("window_assemble",),
        summary="a convex combination of 3x3 pixels, with weights that a hidden state predicts",
        paper=Paper(
            "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow",
            "ECCV",
            2020,
            "pytorch/vision 8fb8771 (MaskPredictor, upsample_flow); princeton-vl/RAFT 2888e15 is the same function",
            "BSD-3-Clause",
        ),
        params=(
            Param("hidden", 256, "channels between the two convolutions", "hidden_size", minimum=1),
            Param("multiplier", 0.25, "of the logits, a temperature", "multiplier", kind=float),
            Param(
                "gain",
                "s",
                "s multiplies the output by the scale, for flow and disparity; 1 is for features",
                choices=("s", 1),
            ),
        ),
        guides=HIDDEN,
        count_params=_params,
        count_macs=_macs,
        notes=(
            "The output is multiplied by the scale, because a flow in pixels grows with the map. A feature must not be: "
            "params.gain 1 leaves it as it is.",
            "Taps outside the map are zero and the weights are not renormalised: the border is attenuated, as CARAFE's is.",
            "torchvision's layer has 8 x 8 x 9 output channels as a literal, though its upsample_flow takes any factor.",
            "The factor 0.25, which the paper puts down to the balance of gradients, acts as a temperature of the softmax.",
        ),
    ),
)
