"""Nearest, bilinear and bicubic interpolation."""

from upbench.cards.card import Card, Macs


def _card(mode: str, taps: int, summary: str, *notes: str) -> Card:
    return Card(
        name=mode,
        module="upbench.upsamplers.interpolation:Interpolation",
        summary=summary,
        paper=None,
        scales="any",
        fixed={"mode": mode},
        count_params=lambda s: 0,
        count_macs=lambda s: Macs(gather=taps * s.channels * s.high),
        notes=notes,
    )


CARDS = (
    _card("nearest", 0, "copies the parent pixel", "torch's 'nearest' (floor), not 'nearest-exact'."),
    _card(
        "bilinear",
        4,
        "mean of the four nearest pixels",
        "align_corners=False, as in every paper of this line. Counters charge it 0 (torchinfo) or 4 per output (fvcore, ours).",
    ),
    _card("bicubic", 16, "16-tap cubic convolution", "fvcore alone charges it 0; ours is 16 per output."),
)
