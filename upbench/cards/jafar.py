"""JAFAR (Couairon et al., arXiv 2025)."""

import math

from upbench.cards.card import ANY_IMAGE, Card, Macs, Paper, Param, Setting, divides

GROUPS = 8


def _block(d: int) -> int:
    return 2 * d * d + 4 * d


def _params(s: Setting) -> int:
    c, d = s.channels, s["dim"]
    encoders = s["kernel"] ** 2 * s.guide_channels * d + 2 * d * d + c * d + 8 * _block(d)
    attention = 2 * d + c + 2 * d * d + c * d + 3 * d + d * d + d
    return encoders + 2 * d * d + 2 * d + 9 * d * d + attention


def _macs(s: Setting) -> Macs:
    c, d, cells = s.channels, s["dim"], s.height * s.width
    image = (s["kernel"] ** 2 * s.guide_channels + 14 * d) * d * s.pixels
    live = image + (c + 6 * d) * d * s.low + 9 * d * d * s.high + d * d * (s.high + s.low)
    # The angles of the positions, once for all samples.
    live += 2 * d * math.prod(s.image_size)
    # The values are projected, weighed and projected again, and dropped.
    return Macs(conv=live + c * d * s.low + d * d * s.high, gather=(d + c + d) * cells * s.high)


def _dead(s: Setting) -> tuple[str, ...]:
    attn = "cross_decode.cross_attn."
    own = (f"{attn}attention.v_proj_weight",) if s.channels != s["dim"] else ()
    return (f"{attn}norm_v.weight", *own, f"{attn}attention.out_proj.weight", f"{attn}attention.out_proj.bias")


def dim_rules(s: Setting) -> list[str]:
    """The mistakes of a dimension that heads and norms do not divide."""
    found = divides(s, "heads", s["dim"], "dim")
    if s["dim"] % GROUPS:
        found.append(f"params.dim is {s['dim']}, but its norms have {GROUPS} groups; use a multiple of {GROUPS}")
    return found


def image_least(s: Setting) -> int:
    """The side of x whose output, where the image has its size, is large enough for a mirrored border."""
    return math.ceil((s["kernel"] // 2 + 1) / s.scale) if s.image is None else 1


CARDS = (
    Card(
        name="jafar",
        module="upbench.upsamplers.jafar:JAFAR",
        summary="every output pixel attends to all features, by the image",
        paper=Paper(
            "JAFAR: Jack up Any Feature at Any Resolution", "arXiv", 2025, "PaulCouairon/JAFAR 94d4d54", "Apache-2.0"
        ),
        params=(
            Param("dim", 128, "channels of queries and keys", "qk_dim", minimum=8),
            Param("heads", 4, "attention heads", "num_heads", minimum=1),
            Param("kernel", 1, "side of the image encoder's first kernel", "kernel_size", minimum=1, odd=True),
        ),
        guides=ANY_IMAGE,
        scales="any",
        any_size=True,
        rules=dim_rules,
        least_size=image_least,
        rounding="a dozen convolutions of the image, one after another, add their rounding before a softmax",
        dead_parameters=_dead,
        fused_ops=("averaged_attention",),
        count_params=_params,
        count_macs=_macs,
        notes=(
            "Dead parameters: norm_v, v_proj, out_proj and the last third of in_proj_bias are computed with and thrown away, "
            "because only the weights of torch's multi-head attention are used. They are counted, as released: 66,176 of "
            "628,480 parameters at 384 channels, 2.5 of 28.9 GMAC from 16x16 to 224x224. The plain form computes them too.",
            "Its rotary embedding pairs a row angle with a column angle: it is no rotation, and norms are not kept.",
            "Where C equals dim torch keeps one in_proj_weight instead of three matrices: the keys differ.",
            "The RMS norms' epsilon is the dtype's own, 9.8e-4 in half precision.",
            "The plain form holds the weights of all output pixels and cells for every head: 0.8 GB a head at 448x448 from 32x32.",
        ),
    ),
)
