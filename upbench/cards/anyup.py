"""AnyUp (Wimmer et al., ICLR 2026)."""

import math

from upbench.cards.card import ANY_IMAGE, Card, Macs, Paper, Param, Setting
from upbench.cards.jafar import GROUPS, dim_rules, image_least


def _block(inputs: int, d: int) -> tuple[int, int]:
    """Weights of a residual block's convolutions, and its parameters in all."""
    weights = inputs * d + d * d + (inputs * d if inputs != d else 0)
    return weights, weights + 2 * inputs + 2 * d


def _filters(s: Setting) -> int:
    return s["lfu_dim"] or s["dim"]


def _params(s: Setting) -> int:
    d, m = s["dim"], _filters(s)
    first = s["kernel"] ** 2 * s.guide_channels * d + 2 * d * d + s["lfu_kernel"] ** 2 * m + 18 * d * d
    blocks = 9 * _block(d, d)[1] + _block(m, d)[1]
    attention = 2 * d + 3 * d * d + 3 * d + d * d + d
    return first + blocks + 2 * d + 9 * d * d + attention


def _macs(s: Setting) -> Macs:
    c, d, m, cells = s.channels, s["dim"], _filters(s), s.height * s.width
    image = (s["kernel"] ** 2 * s.guide_channels + 14 * d) * d * s.pixels
    features = s["lfu_kernel"] ** 2 * c * m + _block(m, d)[0] + 2 * d * d + 22 * d * d
    live = image + features * s.low + 9 * d * d * s.high + d * d * (s.high + s.low)
    # The angles of the positions, once for all samples.
    live += 2 * d * math.prod(s.image_size)
    # The values are projected, weighed and projected again, and dropped.
    return Macs(conv=live + d * d * s.low + d * d * s.high, gather=(d + c + d) * cells * s.high)


def _rules(s: Setting) -> list[str]:
    found = dim_rules(s)
    if _filters(s) % GROUPS:
        found.append(
            f"params.lfu_dim is {s['lfu_dim']}, but its norms have {GROUPS} groups; use a multiple of {GROUPS}"
        )
    return found


CARDS = (
    Card(
        name="anyup",
        module="upbench.upsamplers.anyup:AnyUp",
        summary="jafar within a window, with keys that features of any number of channels are made to",
        paper=Paper("AnyUp: Universal Feature Upsampling", "ICLR", 2026, "wimmerth/anyup 351807a", "CC-BY-4.0"),
        params=(
            Param("dim", 128, "channels of queries and keys", "qk_dim", minimum=8),
            Param("heads", 4, "attention heads", "num_heads", minimum=1),
            Param("kernel", 1, "side of the image encoder's first kernel", "kernel_size", minimum=1, odd=True),
            Param("lfu_kernel", 5, "side of the unification's filters", "kernel_size_lfu", minimum=1, odd=True),
            Param("lfu_dim", None, "number of filters; null is dim", "lfu_dim", minimum=8, kind=int),
            Param(
                "window",
                0.1,
                "half the side of the window, as a part of the map; 0 is no window",
                "window_ratio",
                minimum=0,
                kind=float,
            ),
            Param("order", "released", "how the unification's maps are read", choices=("released", "intended")),
        ),
        guides=ANY_IMAGE,
        scales="any",
        any_size=True,
        rules=_rules,
        least_size=lambda s: max(2, image_least(s)),
        dead_parameters=lambda s: (
            "cross_decode.cross_attn.attention.out_proj.weight",
            "cross_decode.cross_attn.attention.out_proj.bias",
        ),
        fused_ops=("averaged_attention",),
        count_params=_params,
        count_macs=_macs,
        notes=(
            "The unification writes its C * m maps as channel * m + filter and reads them as m x C, so that its softmax runs "
            "over parts of the channels of a filter and the result depends on the order of the channels: permuting 384 of "
            "them moves the output by 27 % at initialisation. All published weights were trained so. params.order: intended "
            "reads the maps as they were written.",
            "Dead parameters: out_proj, and the value third of in_proj_weight and in_proj_bias, are computed with and thrown "
            "away. They are counted, as released: 2.5 of 29.2 GMAC from 16x16 to 224x224. The plain form computes them too.",
            "MACs are counted dense, as released: the mask of the window saves nothing. The window holds 1/14 of the cells of a "
            "16x16 map and 1/25 of those of a large one.",
            "The window's edges are computed in float32, and where they fall on a cell's, rounding decides.",
            "No parameter depends on the number of channels: one checkpoint serves all.",
            "The released NATTEN form uses other windows and is not equal to this one.",
        ),
    ),
)
