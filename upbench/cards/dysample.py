"""DySample and its three variants (Liu et al., ICCV 2023)."""

from upbench.cards.card import Card, Macs, Paper, Param, Setting, divides

PAPER = Paper("Learning to Upsample by Learning to Sample", "ICCV", 2023, "tiny-smart/dysample 81a1de5")
NOTES = (
    "The dysample repository has no bias on scope; detection- and segmentation-with-upsamplers, where the released "
    "checkpoints come from, have one. upbench builds without; load_weights accepts both.",
    "The papers' parameter columns leave out biases (+32.7K = 4 x 8192; the module has 4 x 8224).",
    "The papers use 4 groups for LP and 8 for PL (the -s variants); the released default is 4 for both.",
    "The release builds its sampling grid in the feature's dtype: in bfloat16 at width 256 its output is off by 20 %. "
    "upbench builds it in float32.",
    "Text and Table 7 of the paper disagree on the number of stages in Mask R-CNN (three or four).",
)


def _card(name: str, style: str, dynamic: bool, groups: int, summary: str) -> Card:
    def offset_weights(s: Setting) -> int:
        """Weights of the offset convolution (the scope convolution has as many)."""
        area = int(s.scale**2)
        return 2 * s["groups"] * s.channels * area if style == "lp" else 2 * s["groups"] * s.channels // area

    def params(s: Setting) -> int:
        bias = 2 * s["groups"] * (int(s.scale**2) if style == "lp" else 1)
        return offset_weights(s) * (1 + dynamic) + bias

    def macs(s: Setting) -> Macs:
        pixels = s.low if style == "lp" else s.high
        return Macs(conv=offset_weights(s) * (1 + dynamic) * pixels, gather=4 * s.channels * s.high)

    def rules(s: Setting) -> list[str]:
        found = divides(s, "groups", s.channels, "channels")
        area = int(s.scale**2)
        if style == "pl" and s.channels % area:
            found.append(
                f"channels is {s.channels}, but {name} shuffles before its convolution and needs a multiple of scale^2"
                f" ({area}); use dysample{'+' if dynamic else ''}, or other channels"
            )
        return found

    return Card(
        name=name,
        module="upbench.upsamplers.dysample:DySample",
        fused_ops=("sample_points",),
        summary=summary,
        paper=PAPER,
        params=(Param("groups", groups, "channel groups with an offset each", "groups", minimum=1),),
        fixed={"style": style, "dynamic": dynamic},
        rules=rules,
        count_params=params,
        count_macs=macs,
        notes=NOTES,
    )


CARDS = (
    _card("dysample", "lp", False, 4, "one bilinear sample per group at a predicted offset"),
    _card("dysample+", "lp", True, 4, "dysample with a predicted range of the offset"),
    _card("dysample-s", "pl", False, 8, "dysample with offsets predicted after a pixel shuffle"),
    _card("dysample-s+", "pl", True, 8, "dysample-s with a predicted range of the offset"),
)
