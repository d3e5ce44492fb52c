"""IndexNet (Lu et al., ICCV 2019)."""

from upbench.cards.card import FEATURE, Card, Macs, Paper, Param, Setting


def _weights(s: Setting) -> int:
    """Convolution weights: as many as MACs per low-resolution pixel, for each is used once."""
    c, area = s.guide_channels, 16 if s["context"] else 4
    if s["kind"] == "hin":
        return area * c * 2 * c + 2 * c * 4 if s["nonlinear"] else area * c * 4
    inputs = c if s["kind"] == "m2o" else 1
    return 4 * c * inputs * (area + s["nonlinear"])


def _params(s: Setting) -> int:
    normed = s.guide_channels * (2 if s["kind"] == "hin" else 4)
    return _weights(s) + (2 * normed if s["nonlinear"] else 0)


def _macs(s: Setting) -> Macs:
    return Macs(conv=_weights(s) * s.low, gather=s.channels * s.high)


def _rules(s: Setting) -> list[str]:
    if s["kind"] == "hin" or s.guide_channels == s.channels:
        return []
    return [
        f"guide_channels is {s.guide_channels} and channels {s.channels}, but kind {s['kind']} predicts one index per guide "
        f"channel and needs them equal; use kind: hin, or bring the guide to {s.channels} channels by a 1x1 convolution"
    ]


CARDS = (
    Card(
        name="indexnet",
        module="upbench.upsamplers.indexnet:IndexNet",
        summary="nearest upsampling, scaled by indices that the guide predicts",
        paper=Paper(
            "Indices Matter: Learning to Index for Deep Image Matting",
            "ICCV",
            2019,
            "poppinace/indexnet_matting 4beb06a",
        ),
        params=(
            Param(
                "kind",
                "hin",
                "holistic (one index for all channels), one-to-one or many-to-one index block",
                "block class",
                choices=("hin", "o2o", "m2o"),
            ),
            Param("nonlinear", True, "batch norm, ReLU6 and a second convolution in the block", "use_nonlinear"),
            Param("context", True, "the block reads 4x4 instead of 2x2 pixels", "use_context"),
        ),
        guides=FEATURE,
        scales="2",
        rules=_rules,
        count_params=_params,
        count_macs=_macs,
        notes=(
            "There is no released stand-alone upsampler: the tables' rows are the decoder half of the matting network, its "
            "index map times the nearest-upsampled feature, and cannot be rerun from released code.",
            "The decoder's indices are sigmoids and do not sum to one over a 2x2 block; only the pooling side, which upsampling "
            "does not use, has a softmax (of the sigmoids). At the start the feature is about halved.",
            "DySample, SAPA and LDA-AQU tabulate hin with nonlinear and context (32 C^2 + 8 C MACs); SAPA's matting table uses "
            "m2o, as does the default of the matting network.",
            "The papers' parameter columns leave out the batch norms.",
            "The released hin block fails with its default for the normalisation layer (None); upbench always uses batch norm.",
            "The indices come from the guide alone; x does not take part in them.",
        ),
    ),
)
