"""SAPA-I and SAPA-B (Liu et al., NeurIPS 2022) and SAPA-D (its journal extension)."""

from upbench.cards.card import FEATURE, Card, Macs, Paper, Param, Setting, divides

CODE = "tiny-smart/sapa a5acd52"
CONFERENCE = Paper("SAPA: Similarity-Aware Point Affiliation for Feature Upsampling", "NeurIPS", 2022, CODE)
JOURNAL = Paper("On Point Affiliation in Feature Upsampling", "arXiv 2307.08198", 2023, CODE)
NORM_GROUPS = 32

SHARED_NOTES = (
    "The equations take every tap as valid. The released kernels give a tap outside the map the logit 0 and the "
    "value 0 and leave it in the softmax, so borders fade: with equal logits and a 5x5 window a corner keeps 9/25.",
    "Similarities are not divided by sqrt(d).",
    "The formulas of Table 1 leave out biases and norms.",
    "The NeurIPS release (poppinace/sapa) is a different module: embedding 64, layer norm, linear layers on "
    "channels-last maps, and a gated similarity that the journal version withdraws. Its weights do not fit.",
    "The release runs on CUDA only, includes a header that PyTorch dropped in 1.11, and sums gradients with atomics. "
    "Its root `__init__.py` imports names that do not exist.",
    "The bilinear SegFormer-B1 baseline is 42.11 mIoU here, 41.68 in the FADE and DySample papers.",
)
NORM_NOTE = (
    "The text normalises for SegFormer and DepthFormer only (SAPA-D also in matting); the released classes default to "
    "norm=True for SAPA-B, also in the detection configuration, and to norm=False for SAPA-D."
)
K_UP = Param("k_up", 5, "side of the window", "up_kernel_size", minimum=1, odd=True)


def _bias(doc: str) -> Param:
    return Param("bias", True, doc, "qkv_bias")


def _norm(default: bool) -> Param:
    return Param(
        "norm", default, "group norm (32 groups) before the projections; needs channels divisible by 32", "norm"
    )


def _embedding(doc: str) -> Param:
    return Param("embedding", 32, doc, "embedding_dim", minimum=1)


def _norm_rules(s: Setting) -> list[str]:
    if not s["norm"]:
        return []
    return [
        f"{what} is {count}, but the group norm has {NORM_GROUPS} groups and needs a multiple of {NORM_GROUPS}; "
        f"set params.norm to false, or choose other channels"
        for what, count in (("channels", s.channels), ("guide_channels", s.guide_channels))
        if count % NORM_GROUPS
    ]


def _equal_channels(s: Setting) -> list[str]:
    if s.guide_channels == s.channels:
        return []
    return [
        f"guide_channels is {s.guide_channels}, but sapa-i compares the guide with x directly and needs as many as x "
        f"has ({s.channels}); use sapa-b, which projects both, or bring the guide to {s.channels} channels with a 1x1 "
        f"convolution"
    ]


def _projections(s: Setting, width: int) -> int:
    """Parameters of query and key projections to `width` channels, and of the norms before them."""
    both = s.guide_channels + s.channels
    return both * width + (2 * width if s["bias"] else 0) + (2 * both if s["norm"] else 0)


def _window_macs(s: Setting, width: int) -> int:
    """Similarity of `width` channels and assembly over the window."""
    return s["k_up"] ** 2 * (width + s.channels) * s.high


def _base_macs(s: Setting) -> Macs:
    d = s["embedding"]
    return Macs(conv=s.guide_channels * d * s.high + s.channels * d * s.low, gather=_window_macs(s, d))


def _offset_channels(s: Setting) -> int:
    return 2 * s["points"] * s["groups"] * (int(s.scale**2) if s["dof"] == "s2" else 1)


def _dynamic_params(s: Setting) -> int:
    return _projections(s, s["groups"] * s["embedding"]) + _offset_channels(s) * (s.channels + s["bias"])


def _dynamic_macs(s: Setting) -> Macs:
    width = s["groups"] * s["embedding"]
    coarse = s.channels * (width + _offset_channels(s))
    return Macs(
        conv=s.guide_channels * width * s.high + coarse * s.low,
        # Bilinear sampling at 4, similarity or assembly at 1, for each channel of key and value.
        gather=5 * s["points"] * (width + s.channels) * s.high,
    )


CARDS = (
    Card(
        name="sapa-i",
        module="upbench.upsamplers.sapa:SAPAInner",
        fused_ops=("window_similarity", "window_assemble"),
        summary="attention of the guide over a k_up x k_up window of the map itself; no parameters",
        paper=CONFERENCE,
        params=(K_UP,),
        guides=FEATURE,
        rules=_equal_channels,
        count_params=lambda s: 0,
        count_macs=lambda s: Macs(gather=_window_macs(s, s.channels)),
        notes=(
            "Not released as a module: upbench runs the released attention with the guide as query and x as key and "
            "value, without norm.",
            *SHARED_NOTES,
        ),
    ),
    Card(
        name="sapa-b",
        module="upbench.upsamplers.sapa:SAPABase",
        fused_ops=("window_similarity", "window_assemble"),
        summary="attention of the embedded guide over a k_up x k_up window of the embedded map",
        paper=CONFERENCE,
        params=(
            K_UP,
            _embedding("channels of query and key"),
            _norm(True),
            _bias("biases of the query and key projections"),
        ),
        guides=FEATURE,
        rules=_norm_rules,
        count_params=lambda s: _projections(s, s["embedding"]),
        count_macs=_base_macs,
        notes=(
            "Embedding: the journal text, its Table 1 and the release have 32, but the SAPA-B rows of its Table 3 "
            "(+1.7 G) and of LDA-AQU's Table 1 (+2.4 G) come out only with 64; the README's row (+1.0 G) is 32.",
            NORM_NOTE,
            "Keys are padded after their projection: a tap outside the map does not see the key's bias either.",
            *SHARED_NOTES,
        ),
    ),
    Card(
        name="sapa-d",
        module="upbench.upsamplers.sapa:SAPADynamic",
        fused_ops=("deform_similarity", "deform_assemble"),
        summary="attention of the embedded guide over points that x predicts",
        paper=JOURNAL,
        params=(
            Param("points", 9, "points that each output pixel reads", "num_point", minimum=1),
            Param("groups", 4, "channel groups with points and an attention map each", "groups", minimum=1),
            _embedding("channels of query and key in each group"),
            _norm(False),
            _bias("biases of the query, key and offset projections"),
            Param("dof", "s2", "offsets for each sub-pixel (s2), or one for all (1)", "high_offset", choices=("s2", 1)),
        ),
        guides=FEATURE,
        rules=lambda s: divides(s, "groups", s.channels, "channels") + _norm_rules(s),
        count_params=_dynamic_params,
        count_macs=_dynamic_macs,
        notes=(
            "The origin initialisation of the text is offsets of zero; the release draws the offset weights from "
            "N(0, 0.02) and zeroes only the bias, so points start near the parent, not on it.",
            "The text uses dof 1 for SegFormer, UPerNet and matting and s2 elsewhere; the released class defaults to "
            "s2.",
            "Table 1 counts a bilinear sample as 8 per value, upbench as 4, and its total (38Sdg) is not the sum of "
            "its steps (36Sdg).",
            "The SegFormer row of Table 3 (+4.4 G, +0.2 M) does not follow from Table 1, and the README's (+5.3 G, "
            "+0.8 M) is the count for s2 where the model has dof 1 (0.50 M).",
            NORM_NOTE,
            "A point outside the map reads a zero key, hence the logit 0, and a zero value.",
            *SHARED_NOTES,
        ),
    ),
)
