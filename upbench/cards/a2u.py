"""A2U (Dai et al., CVPR 2021)."""

from upbench.cards.card import FEATURE, Card, Macs, Paper, Param, Setting


def _taps(s: Setting) -> int:
    """Length of a sample's pattern: one number per sub-pixel and tap."""
    return 4 * s["k_up"] ** 2


def _params(s: Setting) -> int:
    c = s.guide_channels
    return (c + 1) * _taps(s) + 2 * (c + 1) + 4 * c


def _macs(s: Setting) -> Macs:
    c, area, taps = s.guide_channels, s["k_enc"] ** 2, _taps(s)
    # The filters and the pattern are predicted from pooled maps of k_enc x k_enc and of 1 pixel: once a sample,
    # whatever its size. The papers' 73 C + 36 is the part per pixel alone.
    per_sample = 2 * area * c + taps * c
    return Macs(
        conv=(2 * area * c + c + taps) * s.low + per_sample * s.batch,
        gather=s["k_up"] ** 2 * s.channels * s.high,
    )


def _rules(s: Setting) -> list[str]:
    if s.guide_channels % 32 == 0:
        return []
    return [
        f"guide_channels is {s.guide_channels}, but a2u norms the guide in 32 groups and needs a multiple of 32; "
        f"bring the guide to {-(-s.guide_channels // 32) * 32} channels by a 1x1 convolution"
    ]


CARDS = (
    Card(
        name="a2u",
        module="upbench.upsamplers.a2u:A2U",
        fused_ops=("window_assemble",),
        summary="reassembly by kernels from second-order features of the guide",
        paper=Paper(
            "Learning Affinity-Aware Upsampling for Deep Image Matting",
            "CVPR",
            2021,
            "tiny-smart/detection-with-upsamplers fef67b6 (A2UUp), dongdong93/a2u_matting 7861b1b",
        ),
        params=(
            Param("k_up", 3, "side of the reassembly kernel", "s", minimum=1, odd=True),
            Param("k_enc", 6, "side of the filters that are predicted for the guide", "k", minimum=1),
        ),
        guides=FEATURE,
        scales="2",
        rules=_rules,
        count_params=_params,
        count_macs=_macs,
        notes=(
            "The softmax is taken of sigmoids, so no 3x3 kernel weight can leave (0.044, 0.254): the kernels are close to a "
            "box blur and can never be sharp.",
            "The papers count 4 k_up^2 C + 2 C parameters (9,728 at 256 channels); group norms and biases make it 10,790.",
            "Their MACs leave out what is predicted once a sample: 108 C at the defaults.",
            "This is the variant dynamic-cs-d of the tables as their authors ship it: dynamic, shared by the channels, rank 1, "
            "one group. Their repository has the module but does not register it, so its rows cannot be rerun from there.",
            "The original model predicts a downsampling kernel as well (bconv_DP), which upsampling does not read.",
            "More than one group is broken in the original: masks are laid out by tap, and read by group.",
            "Taps outside the map are zero and the weights are not renormalised.",
            "The kernels come from the guide alone; x does not take part in them.",
        ),
    ),
)
