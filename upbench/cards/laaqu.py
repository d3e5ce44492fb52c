"""LA-AQU, the local attention that LDA-AQU deforms (Du et al., ACM MM 2024)."""

from upbench.cards.card import Card, Macs, Paper, Param, Setting, divides


def _rules(s: Setting) -> list[str]:
    found = divides(s, "reduction", s.channels, "channels")
    if found:
        return found
    hidden = s.channels // s["reduction"]
    found += divides(s, "heads", hidden, "the hidden channels, channels / reduction")
    return found + divides(s, "heads", s.channels, "channels")


def _params(s: Setting) -> int:
    hidden = s.channels // s["reduction"]
    return 2 * s.channels * hidden + 2 * s.channels + (s["k_u"] ** 2 * hidden if s["position_bias"] else 0)


def _macs(s: Setting) -> Macs:
    hidden = s.channels // s["reduction"]
    return Macs(conv=2 * s.channels * hidden * s.low, gather=s["k_u"] ** 2 * (hidden + s.channels) * s.high)


CARDS = (
    Card(
        name="laaqu",
        module="upbench.upsamplers.laaqu:LAAQU",
        fused_ops=("nearby_similarity", "nearby_assemble"),
        summary="attention of a query over the k_u x k_u pixels around each output pixel's parent",
        paper=Paper("LDA-AQU: Adaptive Query-guided Upsampling via Local Deformable Attention", "ACM MM", 2024),
        params=(
            Param("reduction", 4, "channels / hidden channels of query and key", minimum=1),
            Param("k_u", 3, "side of the neighbourhood that is attended to", minimum=1, odd=True),
            Param("heads", 1, "attention heads", minimum=1),
            Param("position_bias", True, "learned embedding of each tap, added to the keys"),
        ),
        scales="any",
        rules=_rules,
        count_params=_params,
        count_macs=_macs,
        notes=(
            "No code and no numbers were published: this is sec. 3.2.1, and where it is silent the released LDA-AQU.",
            "From the paper: attention over uniform neighbours in input pixels (eq. 8), x itself as values (eq. 9, "
            "W^V the identity), a bilinearly interpolated query (sec. 3.2.2), division by sqrt(d) (eq. 13), any "
            "scale.",
            "As in the released LDA-AQU, not in the text: reduction, heads, layer norm before query and key, the "
            "embedding of each tap, the query resized with align_corners=True, taps outside the map zero-valued but "
            "kept in the softmax.",
            "psi: eq. 7 is `x*W/(aW-1)`. Rounded down it is the parent pixel floor(x/a) for whole a, but for the last "
            "output row and column, where it is W, outside the map. upbench takes the parent, `floor(x*W/W')` with W' "
            "the output width, at every scale. That the neighbours are whole pixels is read from eq. 14 and 15, "
            "where four of them are the bilinear ones; eq. 10 applied to a fractional psi would place them between "
            "pixels.",
            "ldaaqu with theta 0 is another method: its neighbours are fractional positions one output pixel apart.",
            "The paper calls the sum of the weights one; at the border part of it lies on taps outside the map: with "
            "equal logits and k_u 3 a corner keeps 4/9 of a constant map.",
        ),
    ),
)
