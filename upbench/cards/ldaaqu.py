"""LDA-AQU (Du et al., ACM MM 2024)."""

from upbench.cards.card import Card, Macs, Paper, Param, Setting, divides

PAPER = Paper(
    "LDA-AQU: Adaptive Query-guided Upsampling via Local Deformable Attention",
    "ACM MM",
    2024,
    "duzw9311/LDA-AQU ebfb705",
)


def _rules(s: Setting) -> list[str]:
    found = divides(s, "reduction", s.channels, "channels")
    if found:
        return found
    hidden = s.channels // s["reduction"]
    what = "the hidden channels, channels / reduction"
    found += divides(s, "groups", hidden, what) + divides(s, "heads", hidden, what)
    return found + divides(s, "heads", s.channels, "channels")


def _params(s: Setting) -> int:
    hidden, n = s.channels // s["reduction"], s["k_u"] ** 2
    per_group = hidden // s["groups"]
    offset_head = (9 + 2) * per_group + 2 * n * per_group * s["k_e"] ** 2 + 2 * n
    return 2 * s.channels * hidden + offset_head + 2 * s.channels + (n * hidden if s["position_bias"] else 0)


def _macs(s: Setting) -> Macs:
    hidden, n = s.channels // s["reduction"], s["k_u"] ** 2
    return Macs(
        conv=2 * s.channels * hidden * s.low + (9 * hidden + 2 * n * hidden * s["k_e"] ** 2) * s.high,
        gather=5 * n * (hidden + s.channels) * s.high,
    )


CARDS = (
    Card(
        name="ldaaqu",
        module="upbench.upsamplers.ldaaqu:LDAAQU",
        fused_ops=("deform_similarity", "deform_assemble"),
        summary="attention of a query over k_u x k_u deformed points around each output pixel",
        paper=PAPER,
        params=(
            Param(
                "theta",
                11,
                "largest offset, in output pixels (coord: output) or input pixels",
                "range_factor",
                minimum=0,
                kind=float,
            ),
            Param("groups", 2, "channel groups with offsets each", "n_groups", minimum=1),
            Param("reduction", 4, "channels / hidden channels of query and key", "reduction_factor", minimum=1),
            Param("k_u", 3, "side of the neighbourhood that is attended to", "k_u", minimum=1, odd=True),
            Param("k_e", 3, "side of the offset predictor's last kernel", "k_e", minimum=1, odd=True),
            Param("heads", 1, "attention heads", "nh", minimum=1),
            Param("position_bias", True, "learned embedding of each tap, added to the keys", "rpb"),
            Param(
                "coord",
                "output",
                "pixels in which neighbours and theta are measured",
                None,
                choices=("output", "input"),
            ),
        ),
        scales="any",
        rules=_rules,
        count_params=_params,
        count_macs=_macs,
        notes=(
            "Neighbour spacing: the paper (eq. 7, 10, 11) steps in input pixels, the released code in output pixels, so its "
            "neighbourhood is about 1/scale as wide. coord: output is the release, coord: input the paper.",
            "The paper's eq. 7 maps x to `x*W/(aW-1)`, which leaves the map; the code maps x to `x*(W-1)/(aW-1)`.",
            "Eq. 6 projects the values; the code has neither a value nor an output projection.",
            "The layer norm before query and key and the layer norm and GELU in the offset predictor are not in the text.",
            "The learned embedding per tap, added to the keys, is absent from the equations.",
            "The complexity formula leaves out the reduction factor.",
            "Zero offsets at the start depend on the neck calling init_weights; the released class alone starts with offsets "
            "of about 3.7 output pixels. upbench initialises as init_weights does.",
            "Samples outside the map are zero but keep their share of the softmax: a constant map keeps 0.71 in the corner.",
            "Groups move the sampling points only; all groups of a head share one attention map.",
            "The release gives NaN when the output is one pixel high or wide; upbench samples the one row there is.",
        ),
    ),
)
