"""LoftUp (Huang et al., ICCV 2025)."""

from upbench.cards.card import IMAGE, Card, Macs, Paper, Param, Setting, divides

COORDINATES = 20


def _dims(s: Setting) -> tuple[int, int]:
    """Channels of the transformer, and of the image's Fourier features."""
    sine = s["position"] == "sine"
    return s.channels + (COORDINATES if sine else 0), 2 * s["frequencies"] * (2 + s.guide_channels) + s.guide_channels


def _params(s: Setting) -> int:
    c, (d, waves), sine = s.channels, _dims(s), s["position"] == "sine"
    position = COORDINATES if sine else s["lr_size"] ** 2 * c
    image = 2 * s["frequencies"] * (2 + s.guide_channels) + 2 * waves + 9 * waves * d + 9 * d * d + 2 * d + 4 * d
    layer = 4 * d + 4 * d * d + 4 * d + 2 * d + d * c + c + c * d + d
    last = (d * c + c if sine else 0) + 2 * c
    return position + image + s["layers"] * layer + 2 * d + last + (2 * c if s["input_norm"] else 0)


def _macs(s: Setting) -> Macs:
    c, (d, waves), sine = s.channels, _dims(s), s["position"] == "sine"
    queries = 9 * waves * d + 9 * d * d + (d * c if sine else 0)
    layers = s["layers"]
    conv = s.high * (queries + layers * (2 * d * d + 2 * d * c)) + s.low * layers * 2 * d * d
    resized = not sine and (s.height, s.width) != (s["lr_size"], s["lr_size"])
    table = 16 * c * s.height * s.width if resized else 0
    return Macs(conv=conv, gather=layers * 2 * d * s.high * s.height * s.width + table)


def _rules(s: Setting) -> list[str]:
    d = _dims(s)[0]
    return divides(s, "heads", d, f"the {d} channels of its transformer" if d != s.channels else "channels")


CARDS = (
    Card(
        name="loftup",
        module="upbench.upsamplers.loftup:LoftUp",
        summary="a transformer from every pixel's coordinates and colours to all features",
        paper=Paper(
            "LoftUp: Learning a Coordinate-Based Feature Upsampler for Vision Foundation Models",
            "ICCV",
            2025,
            "andrehuang/loftup 6620d9b",
            "MIT",
        ),
        params=(
            Param("frequencies", 20, "of the image's Fourier features", "n_freqs", minimum=1),
            Param("heads", 4, "attention heads", "num_heads", minimum=1),
            Param("layers", 2, "of the transformer", "num_layers", minimum=1),
            Param(
                "position",
                "sine",
                "of the features: computed, or a learned table",
                "lr_pe_type",
                choices=("sine", "learnable"),
            ),
            Param("lr_size", 16, "side of the learned table", "lr_size", minimum=1),
            Param("input_norm", False, "a layer norm of x first, as the released hub models have"),
        ),
        guides=IMAGE,
        scales="any",
        any_size=True,
        batch_independent=False,
        rounding="sines of colours times up to 22,026 turn the rounding of an image into another phase",
        rules=_rules,
        count_params=_params,
        count_macs=_macs,
        notes=(
            "The image is stretched by its smallest and largest value over the whole batch: an image alone gives another "
            "result than the same image among others.",
            "Frequencies reach e^10 = 22,026: an error of 1e-7 in the argument becomes 1e-3, so that the release in float32 is "
            "1e-3 from itself in float64. upbench computes positions, colours and waves in at least float32.",
            "The phases are reshaped, not transposed, before they are added to maps in another order, as released.",
            "The output is regressed and not a combination of features; every pixel has unit variance before the last affine.",
            "The hub models norm x first, params.input_norm; their keys are upsampler.* and channelnorm.norm.*.",
            "lr_size is without effect with position: sine. Keys and values share one norm.",
        ),
    ),
)
