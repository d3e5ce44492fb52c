"""NAF (CVPR 2026)."""

from upbench.cards.card import ANY_IMAGE, Card, Macs, Paper, Param, Setting, divides

GROUPS = 8
SHRINK = 4


def _params(s: Setting) -> int:
    c = s["dim"] // 2
    return sum(k * k * s.guide_channels * c + c + s["layers"] * (4 * c + 2 * (k * k * c * c + c)) for k in (1, 3))


def _encoded(s: Setting) -> int:
    """Pixels of the image that the encoder sees: at most four times the output's shorter side where it is shrunk."""
    (height, width), out = s.image_size, (s.out_height, s.out_width)
    if height > SHRINK * out[0] or width > SHRINK * out[1]:
        height, width = min(height, SHRINK * min(out)), min(width, SHRINK * min(out))
    return s.batch * height * width


def _macs(s: Setting) -> Macs:
    c = s["dim"] // 2
    encoder = (10 * s.guide_channels + 20 * s["layers"] * c) * c
    return Macs(conv=encoder * _encoded(s), gather=s["kernel"] ** 2 * (s["dim"] + s.channels) * s.high)


def _rules(s: Setting) -> list[str]:
    found = divides(s, "heads", s.channels, "channels")
    if s["dim"] % (2 * GROUPS) or s["dim"] % (4 * s["heads"]):
        found.append(
            f"params.dim is {s['dim']}, but must be a multiple of {2 * GROUPS} (the norms of two branches) and of four times "
            f"heads ({4 * s['heads']}, pairs of rows and columns)"
        )
    return found


CARDS = (
    Card(
        name="naf",
        module="upbench.upsamplers.naf:NAF",
        summary="every output pixel attends to the kernel x kernel features around it, by the image alone",
        paper=Paper(
            "NAF: Zero-Shot Feature Upsampling via Neighborhood Attention Filtering",
            "CVPR",
            2026,
            "valeoai/NAF ad4e24d",
            "Apache-2.0",
        ),
        params=(
            Param("dim", 256, "channels of queries and keys", "dim", minimum=16),
            Param("heads", 4, "attention heads, each of its own channels", "heads_attn, heads_rope", minimum=1),
            Param("kernel", 9, "side of the neighbourhood, in features", "kernel_size", minimum=1, odd=True),
            Param("layers", 2, "blocks of each branch of the encoder", "img_layers", minimum=1),
            Param(
                "rope_base",
                100.0,
                "longest period of the positions, to the power of two",
                "rope_base",
                minimum=1,
                kind=float,
            ),
            Param("jitter", "kept", "of the positions in training", choices=("kept", "drawn", "off")),
        ),
        guides=ANY_IMAGE,
        scales="integer",
        any_size=True,
        rules=_rules,
        least_size=lambda s: max(s["kernel"], 2),
        rounding="seven convolutions of the image, one after another, add their rounding before a softmax",
        fused_ops=("dilated_attention",),
        count_params=_params,
        count_macs=_macs,
        notes=(
            "In training the positions are scaled by a random factor from 1/2 to 2, drawn once for each size of the output and "
            "kept; evaluation then uses the kept draw. params.jitter: drawn draws anew in training and never in evaluation.",
            "An image of more than four times the output is first shrunk to at most four times its shorter side: one that is "
            "not square loses its aspect.",
            "At the border the window is shifted inside: always kernel^2 features, weights that sum to one, and kernel at most "
            "the sides of x.",
            "Whole ratios in effect: the release enlarges keys and features by nearest interpolation and reads them a whole "
            "number of output pixels apart.",
            "Each head weighs its own channels, and there is no projection: the features themselves are the values.",
            "The release needs NATTEN.",
        ),
    ),
)
