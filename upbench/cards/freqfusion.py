"""FreqFusion (Chen et al., TPAMI 2024)."""

from upbench.cards.card import FEATURE, Card, Macs, Paper, Param, Setting


def _encoders(s: Setting) -> int:
    """Channels that the two encoders predict."""
    return s["k_low"] ** 2 + (s["k_high"] ** 2 if s["high_pass"] else 0)


def _sampler(s: Setting) -> tuple[int, int]:
    """Input channels of the sampler's offsets and of its ranges."""
    return (s["compressed"] + 8,) * 2 if s["similarity"] == "concat" else (8, s["compressed"])


def _params(s: Setting) -> int:
    m, k = s["compressed"], s["k_enc"] ** 2
    total = (s.guide_channels + s.channels + 2) * m + (k * m + 1) * _encoders(s)
    if s["resample"]:
        total += sum(10 * s["resample_groups"] * (k * n + 1) for n in _sampler(s)) + (
            4 * m if s["resample_norm"] else 0
        )
    return total


def _macs(s: Setting) -> Macs:
    m, k, low, high = s["compressed"], s["k_enc"] ** 2, s.low, s.high
    taps, sharp = s["k_low"] ** 2, s["k_high"] ** 2
    gather = taps * s.channels * high + (sharp * s.guide_channels * high if s["high_pass"] else 0)
    encoded = high + low
    if not s["semi_conv"]:
        encoded = high
        gather += _resize(s) * (m + s.channels) * high
    elif s["low_res_fusion"]:
        gather += sharp * m * high + taps * (taps + sharp) * high
    conv = s.guide_channels * m * high + s.channels * m * low + k * m * _encoders(s) * encoded
    if s["resample"]:
        inputs = sum(_sampler(s))
        conv += k * inputs * s["resample_groups"] * (8 * low + 2 * high)
        gather += 8 * m * (low + high) + 4 * s.channels * high
    return Macs(conv=conv, gather=gather)


def _resize(s: Setting) -> int:
    return 4 if s["resize"] == "bilinear" else 0


def _rules(s: Setting) -> list[str]:
    found = []
    if not s["high_pass"] and s["low_res_fusion"] and s["semi_conv"]:
        found.append(
            "params.high_pass is false, but low_res_fusion sharpens with it; set params.low_res_fusion to false"
        )
    if s["resample"] and s["resample_norm"] and s["compressed"] % 8:
        found.append(f"params.compressed is {s['compressed']}, but the sampler norms groups of 8; use a multiple of 8")
    if s["resample"] and s.channels % s["resample_groups"]:
        found.append(f"params.resample_groups is {s['resample_groups']}, which does not divide channels ({s.channels})")
    if s["resample"] and s.scale != 2:
        found.append(f"params.resample is true, but its offsets are for scale 2 and the scale is {s.scale:g}")
    return found


CARDS = (
    Card(
        name="freqfusion",
        module="upbench.upsamplers.freqfusion:FreqFusion",
        fused_ops=("window_assemble", "mirrored_assemble", "sample_points", "local_similarity"),
        summary="low-pass kernels enlarge x and high-pass kernels sharpen the guide, predicted from both",
        paper=Paper(
            "Frequency-aware Feature Fusion for Dense Image Prediction",
            "TPAMI",
            2024,
            "Linwei-Chen/FreqFusion 3fb0c70",
            "none",
        ),
        params=(
            Param("compressed", 64, "channels after the compressors", "compressed_channels", minimum=1),
            Param("k_low", 5, "side of the low-pass kernel", "lowpass_kernel", minimum=1, odd=True),
            Param("k_high", 3, "side of the high-pass kernel", "highpass_kernel", minimum=1, odd=True),
            Param("k_enc", 3, "side of the encoders' kernels", "encoder_kernel", minimum=1, odd=True),
            Param("high_pass", True, "sharpen the guide", "use_high_pass"),
            Param(
                "low_res_fusion", True, "enlarge the logits of x by the kernels predicted so far", "comp_feat_upsample"
            ),
            Param(
                "semi_conv",
                True,
                "predict kernels at both resolutions; false resizes x first, at any scale",
                "semi_conv",
            ),
            Param("residual", True, "add the sharp part to the guide instead of keeping it alone", "hr_residual"),
            Param("hamming", True, "taper the kernels", "hamming_window"),
            Param("resample", False, "read the result once more at offsets from local similarity", "feature_resample"),
            Param("resample_groups", 4, "channel groups with an offset each", "feature_resample_group", minimum=1),
            Param("resample_norm", True, "group norm before the offsets", "feature_resample_norm"),
            Param(
                "similarity",
                "concat",
                "what the offsets see: features and similarity, or similarity only",
                choices=("concat", "only"),
            ),
            Param("border", "zero", "of the reassembly", choices=("zero", "reflect")),
            Param(
                "resize",
                "nearest",
                "how x is resized with semi_conv off",
                "upsample_mode",
                choices=("nearest", "bilinear"),
            ),
            Param("offset_init", "released", "how the offset generator starts", choices=("released", "intended")),
        ),
        guides=FEATURE,
        scales="2",
        scales_with=lambda s: "2" if s["semi_conv"] else "any",
        outputs=("upsampled", "sharpened guide"),
        rules=_rules,
        least_size=lambda s: max(s["k_low"], s["k_high"]) // 2 + 1 if s["border"] == "reflect" else 1,
        count_params=_params,
        count_macs=_macs,
        notes=(
            "Returns two maps, the enlarged x and the sharpened guide; the caller adds them (FPN) or concatenates them (SegNeXt).",
            "resample is off in the released constructor and on in every published configuration.",
            "The release initialises all sub-modules Xavier-uniform last and so overwrites its offset generator's own start, "
            "offsets next to zero: training starts from offsets of 0.9 input pixels rms. params.offset_init: intended keeps it.",
            "Two rules for the border: CARAFE's zeros with mmcv, mirrored without; params.border.",
            "The paper filters and enlarges features, the code filters predicted kernels.",
            "The SegNeXt copy lets offsets see the similarity and ranges the features only: params.similarity: only.",
            "scale_factor other than 1 breaks the release, its up_group needs mmcv's op, and use_low_pass is never read; upbench "
            "has none of them.",
            "The repository has no licence: upbench's code was written from a description.",
        ),
    ),
)
