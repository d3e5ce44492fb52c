"""FADE (Lu et al., ECCV 2022) and FADE-Lite (IJCV 2024)."""

from upbench.cards.card import FEATURE, Card, Macs, Paper, Param, Setting

CODE = "poppinace/fade e4de4db (FADE_L2H.py)"
NOTES = (
    "The paper describes semi-shift convolution from high to low resolution (H2L); the configurations that were "
    "trained import the L2H module. Both compute the same function; upbench builds L2H, and load_weights takes "
    "either layout.",
    "One convolution, with its bias, runs over both maps before they are added: the bias counts twice, in both forms.",
    "The released H2L module fails on maps that are not square.",
    "FADE_H2L.py in pytorch_implementation confuses the order of sub-pixels and taps: with the same weights its output "
    "is far from the other forms. The reassembly there pads by 2 whatever the kernel, so only k_up 5 works.",
    "The release takes a scale and then ignores it in the interpolation and the gate, which are written for 2.",
    "gate: false is SemiShiftUp in the fade repository and gating=False in detection- and "
    "segmentation-with-upsamplers. The tables of DySample, SAPA and LDA-AQU mean this one, but DySample's SegFormer "
    "row prints the FLOPs with gate.",
    "Formulas and tables of the papers leave out the biases; SAPA's Table 1 also leaves out the gate.",
    "Taps outside the map are skipped and the weights are not renormalised, as in CARAFE: with uniform 5x5 kernels a "
    "corner keeps 9/25 of a constant map.",
    "Convolutions start Xavier-uniform here as in the released L2H; the released H2L starts its 3x3 kernel "
    "Xavier-normal.",
    "fade_lite.yaml selects plain FADE. The README allows academic use only, the LICENSE file is MIT.",
)
K_UP = Param("k_up", 5, "side of the reassembly kernel", "up_kernel_size", minimum=1, odd=True)
GATE = Param("gate", True, "mix the output with the guide by a gate predicted from x", "gating")


def _card(name: str, paper: Paper, summary: str, *, lite: bool) -> Card:
    def embedding(s: Setting) -> int:
        return s["k_up"] ** 2 if lite else s["embedding"]

    def encoder_weights(s: Setting) -> int:
        """Weights of the shared 3x3 convolution, which is depthwise in FADE-Lite."""
        return 9 * s["k_up"] ** 2 * (1 if lite else embedding(s))

    def params(s: Setting) -> int:
        compressors = (s.guide_channels + s.channels) * embedding(s) + embedding(s)
        return compressors + encoder_weights(s) + s["k_up"] ** 2 + (s.channels + 1 if s["gate"] else 0)

    def macs(s: Setting) -> Macs:
        fine = s.guide_channels * embedding(s) + encoder_weights(s)
        coarse = s.channels * embedding(s) + encoder_weights(s) + (s.channels if s["gate"] else 0)
        assemble = s["k_up"] ** 2 * s.channels
        fuse = 2 * s.channels if s["gate"] else 0
        return Macs(conv=fine * s.high + coarse * s.low, gather=(assemble + fuse) * s.high)

    def rules(s: Setting) -> list[str]:
        if not s["gate"] or s.guide_channels == s.channels:
            return []
        return [
            f"guide_channels is {s.guide_channels}, but the gate of {name} mixes the guide with the output and needs "
            f"as many channels as x ({s.channels}); set params.gate to false, or bring the guide to {s.channels} "
            f"channels with a 1x1 convolution"
        ]

    embed = Param("embedding", 64, "channels after the compressors", "embedding_dim", minimum=1)
    return Card(
        name=name,
        module="upbench.upsamplers.fade:FADE",
        fused_ops=("window_assemble",),
        summary=summary,
        paper=paper,
        params=(K_UP, GATE) if lite else (K_UP, embed, GATE),
        fixed={"lite": lite},
        guides=FEATURE,
        scales="2",
        rules=rules,
        count_params=params,
        count_macs=macs,
        notes=NOTES,
    )


CARDS = (
    _card(
        "fade",
        Paper("FADE: Fusing the Assets of Decoder and Encoder for Task-Agnostic Upsampling", "ECCV", 2022, CODE),
        "predicts a k_up x k_up kernel per output pixel from guide and content, then gates the guide in",
        lite=False,
    ),
    _card(
        "fade-lite",
        Paper("FADE: A Task-Agnostic Upsampling Operator for Encoder-Decoder Architectures", "IJCV", 2024, CODE),
        "fade with a depthwise kernel predictor",
        lite=True,
    ),
)
