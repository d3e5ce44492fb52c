"""ReSFU (Zhou et al., arXiv 2024)."""

from upbench.cards.card import FEATURE, Card, Macs, Paper, Param, Setting, divides

HIDDEN = 128


def _scorer(s: Setting) -> int:
    """Weights of one block of scores, without biases and norms."""
    taps = s["k_up"] ** 2
    return HIDDEN * (s["embedding"] // s["groups"] * taps + HIDDEN // s["groups"] + taps)


def _params(s: Setting) -> int:
    e, inputs = s["embedding"], s.channels + s.guide_channels
    block = _scorer(s) + HIDDEN + 2 * e + HIDDEN + 2 * HIDDEN + s["k_up"] ** 2
    layers = e * (inputs if s["y_conv"] else s.channels)
    biases = e * (1 + s["y_conv"]) if s["qkv_bias"] else 0
    return layers + biases + (2 * inputs if s["norm"] else 0) + 2 * block


def _macs(s: Setting) -> Macs:
    e, g = s["embedding"], s["gf_scale"]
    # The centre of a paired difference is a 1x1 convolution of its own; the Gaussian has 3x3 taps.
    centre = HIDDEN * e // s["groups"]
    per_high = (s.guide_channels * e if s["y_conv"] else 0) + 9 * e + 2 * (_scorer(s) + centre)
    boxed = s.batch * max(s.out_height // g, 1) * max(s.out_width // g, 1)
    # Six maps are box filtered: four means, then the two coefficients.
    boxes = 6 * 2 * (2 * (s["radius"] // g) + 1) * e
    return Macs(
        conv=s.channels * e * s.low + per_high * s.high + boxes * boxed,
        gather=5 * s["k_up"] ** 2 * s.channels * s.high,
    )


def _rules(s: Setting) -> list[str]:
    found: list[str] = []
    for name in ("groups", "gn_groups"):
        found += divides(s, name, s["embedding"], "embedding") + divides(s, name, HIDDEN, "the hidden channels")
    if not s["y_conv"] and s.guide_channels != s["embedding"]:
        found.append(
            f"params.y_conv is false, but the guide has {s.guide_channels} channels and the query {s['embedding']}; "
            f"make guide_channels and params.embedding equal"
        )
    if s["norm"]:
        for name, number in (("channels", s.channels), ("guide_channels", s.guide_channels)):
            if number > 32 and number % 32:
                found.append(
                    f"{name} is {number}, but resfu norms in 32 groups and needs a multiple of 32, or fewer than 32; "
                    f"set params.norm to false, or choose other {name}"
                )
    return found


CARDS = (
    Card(
        name="resfu",
        module="upbench.upsamplers.resfu:ReSFU",
        fused_ops=("neighbour_assemble",),
        summary="weighs samples one input pixel apart by learned differences of query and key",
        paper=Paper(
            "A Refreshed Similarity-based Upsampler for Direct High-Ratio Feature Upsampling",
            "arXiv",
            2024,
            "zmhhmz/ReSFU 62e9d9c (demo/resfu.py)",
        ),
        params=(
            Param("groups", 4, "groups of the paired difference convolutions", "groups", minimum=1),
            Param("k_up", 3, "side of the neighbourhood", "kernel_size", minimum=1, odd=True),
            Param("embedding", 32, "channels of query and key", "embedding_dim", minimum=1),
            Param("radius", 8, "radius of the guided filter, in output pixels", "radius", minimum=0),
            Param("eps", 0.001, "regularisation of the guided filter", "eps", minimum=1e-8, kind=float),
            Param("gn_groups", 8, "groups of the norms of the scores", "gn_dim", minimum=1),
            Param("gf_scale", 2, "subsampling of the guided filter", "gf_scale", minimum=1),
            Param("norm", True, "group norm of feature and guide", "normx, normy"),
            Param("y_conv", True, "a layer makes the query; false takes the guide as it is", "y_conv"),
            Param("qkv_bias", True, "biases of the layers of query and key", "qkv_bias"),
        ),
        guides=FEATURE,
        scales="any",
        any_size=True,
        rules=_rules,
        count_params=_params,
        count_macs=_macs,
        notes=(
            "Dilation: the scores compare output pixels that lie the scale apart, as in the demo (2, 4, 8); the released "
            "SegFormer configuration trains its 2x, 4x and 8x modules with 2 throughout, because its builder drops the scale.",
            "The released dilation is a whole number; at other scales upbench rounds (halves up), so that compared and "
            "sampled neighbours are up to half an output pixel per step apart.",
            "The released configurations multiply the gradients of the scores' own weights by 500 in a hook, which neither "
            "the weights nor the optimiser show; upbench has no hook: give these weights a learning rate of their own.",
            "The demo norms fewer than 32 channels in as many groups, which upbench follows; the mmsegmentation copy fails.",
            "The released backward loses the gradient of samples clamped to the last row or column; upbench's is exact.",
            "The biases of the scores' first norms cancel in the paired difference: they are parameters without effect.",
            "Scores leave out neighbours outside the output, samples are clamped onto the map: the weights always sum to one.",
            "The fixed box and Gaussian filters are counted as the convolutions they are in the release (4,608 of 169,472 "
            "MACs per input pixel at the defaults); the release convolves once more to count the pixels of a box.",
            "The guided filter runs in float32 whatever the dtype: its variance is a difference of near-equal means.",
            "k_up is the side of the paired difference's kernel as well; there are no released weights for other than 3.",
            "The release puts its Gaussian on the GPU when it is built, and cannot be built without one.",
        ),
    ),
)
