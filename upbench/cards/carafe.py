"""CARAFE (Wang et al., ICCV 2019)."""

from upbench.cards.card import Card, Macs, Paper, Param, Setting, divides


def _kernels(s: Setting) -> int:
    """Channels of the content encoder's output: one weight per sub-pixel, tap and group."""
    return int(s.scale**2) * s["k_up"] ** 2 * s["groups"]


def _params(s: Setting) -> int:
    m = s["compressed"]
    return s.channels * m + m + m * _kernels(s) * s["k_enc"] ** 2 + _kernels(s)


def _macs(s: Setting) -> Macs:
    m = s["compressed"]
    return Macs(
        conv=(s.channels * m + m * _kernels(s) * s["k_enc"] ** 2) * s.low,
        gather=s["k_up"] ** 2 * s.channels * s.high,
    )


CARDS = (
    Card(
        name="carafe",
        module="upbench.upsamplers.carafe:CARAFE",
        fused_ops=("window_assemble",),
        summary="predicts a k_up x k_up kernel for every output pixel from the content",
        paper=Paper(
            "CARAFE: Content-Aware ReAssembly of FEatures", "ICCV", 2019, "open-mmlab/mmcv a8073c7 (CARAFEPack)"
        ),
        params=(
            Param("k_up", 5, "side of the reassembly kernel", "up_kernel", minimum=1, odd=True),
            Param("k_enc", 3, "side of the content encoder's kernel", "encoder_kernel", minimum=1, odd=True),
            Param("groups", 1, "channel groups with a kernel each", "up_group", minimum=1),
            Param("compressed", 64, "channels after the compressor", "compressed_channels", minimum=1),
            Param("dilation", 1, "dilation of the content encoder", "encoder_dilation", minimum=1),
        ),
        rules=lambda s: divides(s, "groups", s.channels, "channels"),
        count_params=_params,
        count_macs=_macs,
        notes=(
            "Taps outside the map are skipped and the weights are not renormalised, so the kernels sum to less than one at "
            "the border: with uniform 5x5 kernels a corner keeps 9/25 of a constant map. The paper claims a sum of one.",
            "At initialisation every kernel is nearly uniform (a box blur), neither nearest nor bilinear.",
            "The released CUDA kernel has no bfloat16 and no CPU form, and overruns its shared memory for k_up^2 * groups > 384.",
        ),
    ),
)
