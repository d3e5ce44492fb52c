"""The two learned upsamplers that are a convolution: deconvolution and pixel shuffle."""

from upbench.cards.card import Card, Macs, Paper, Param, Setting

DETECTION = "tiny-smart/detection-with-upsamplers fef67b6"


def _deconv_rules(s: Setting) -> list[str]:
    if s["kernel"] >= s.scale:
        return []
    return [
        f"params.kernel is {s['kernel']}, smaller than the scale {s.scale:g}: some output pixels would be reached by no"
        f" input; use a kernel of at least {int(s.scale)}"
    ]


CARDS = (
    Card(
        name="deconv",
        module="upbench.upsamplers.convolution:Deconv",
        summary="transposed convolution",
        paper=Paper(
            "Deconvolutional networks (Zeiler et al.)", "CVPR", 2010, f"torch.nn.ConvTranspose2d as in {DETECTION}"
        ),
        params=(Param("kernel", 3, "side of the kernel", "kernel_size", minimum=1),),
        rules=_deconv_rules,
        count_params=lambda s: s["kernel"] ** 2 * s.channels**2 + s.channels,
        count_macs=lambda s: Macs(conv=s["kernel"] ** 2 * s.channels**2 * s.low),
        notes=(
            "DySample's and SAPA's tables count 9C^2 per output pixel (+34.4G), four times the arithmetic done; "
            "LDA-AQU's counts it per input pixel (+12.6G), as upbench does.",
            "Initialised as PyTorch does; the FPN_CARAFE and FPN_LAU necks re-initialise it Xavier-uniform, bias 0.",
        ),
    ),
    Card(
        name="pixelshuffle",
        module="upbench.upsamplers.convolution:PixelShuffle",
        summary="convolution to scale^2 times the channels, then depth to space",
        paper=Paper(
            "Real-time single image and video super-resolution using an efficient sub-pixel convolutional neural network",
            "CVPR",
            2016,
            DETECTION,
        ),
        params=(Param("kernel", 3, "side of the kernel", "kernel_size", minimum=1, odd=True),),
        count_params=lambda s: int(s.scale**2) * (s["kernel"] ** 2 * s.channels**2 + s.channels),
        count_macs=lambda s: Macs(conv=int(s.scale**2) * s["kernel"] ** 2 * s.channels**2 * s.low),
        notes=(
            "Initialised as PyTorch does (detection-with-upsamplers); mmcv's PixelShufflePack uses Xavier-uniform, bias 0. "
            "Neither uses ICNR.",
            "SAPA's README prints +3.5M parameters for SegFormer, its paper +14.2M; 14.2M is six times 36C^2.",
        ),
    ),
)
