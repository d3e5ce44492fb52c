"""DLU (arXiv 2410.22139, 2024)."""

from upbench.cards.card import Card, Macs, Paper, Param, Setting


def _outputs(s: Setting) -> int:
    """Channels that the two encoders predict: a kernel, and an offset for every sub-pixel."""
    return s["k_up"] ** 2 + 2 * int(s.scale) ** 2


def _params(s: Setting) -> int:
    m = s["compressed"]
    return s.channels * m + m + (s["k_enc"] ** 2 * m + 1) * _outputs(s)


def _macs(s: Setting) -> Macs:
    m = s["compressed"]
    return Macs(
        conv=(s.channels * m + s["k_enc"] ** 2 * m * _outputs(s)) * s.low,
        gather=s["k_up"] ** 2 * (s.channels + 4) * s.high,
    )


CARDS = (
    Card(
        name="dlu",
        module="upbench.upsamplers.dlu:DLU",
        fused_ops=("window_assemble", "sample_points"),
        summary="CARAFE with one kernel per input pixel, sampled at learned offsets",
        paper=Paper(
            "DLU: A Dynamic Lightweight Upsampler",
            "arXiv",
            2024,
            "Fu0511/Dynamic-Lightweight-Upsampling c451f6f (dlu.py)",
        ),
        params=(
            Param("k_up", 5, "side of the reassembly kernel", "up_kernel", minimum=1, odd=True),
            Param("k_enc", 3, "side of the encoders' kernels", "encoder_kernel", minimum=1, odd=True),
            Param("compressed", 64, "channels after the compressor", "compressed_channels", minimum=1),
        ),
        count_params=_params,
        count_macs=_macs,
        notes=(
            "The offsets start at zero, where every sample sits on a kink of bilinear reading: the first gradient of the "
            "offsets is one-sided, and rounding decides from which side.",
            "There is no sub-pixel term: at zero offset all sub-pixels of a pixel have its kernel.",
            "The release divides by zero on a side of 1; upbench does not. Its up_group above 1 fails; upbench has no groups.",
            "The release moves its grid to a GPU whenever there is one.",
            "91 % fewer parameters and 63 % fewer FLOPs than CARAFE, as the abstract has it, is the case of scale 16 (at 256 "
            "channels); the FLOPs are convolutions and assembly, without the reading of the kernels.",
            "Taps outside the map are zero and the weights are not renormalised, as in CARAFE.",
        ),
    ),
)
