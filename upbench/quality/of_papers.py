"""How far a paper's own tables agree about upsamplers: the ceiling of what any proxy can agree with."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from upbench import papers
from upbench.analysis.rank import kendall_tau

SAPA = {
    "SegFormer mIoU": ("sapa/table3", "segformer-b1", None, "mIoU"),
    "SegFormer bIoU": ("sapa/table3", "segformer-b1", None, "bIoU"),
    "UPerNet mIoU": ("sapa/table4", "upernet-r50", None, "mIoU"),
    "detection AP": ("sapa/table5", "faster-rcnn-r50", None, "AP"),
    "instance AP": ("sapa/table6", "mask-rcnn-r50", "bbox", "AP"),
    "matting SAD": ("sapa/table8", "a2u-matting", None, "SAD"),
}
"""Name -> table, host, part and metric of SAPA's comparisons of ten upsamplers."""
PLAIN = ("nearest", "bilinear")
"""What stands in a table for plain interpolation: the host's own."""


def agreement() -> dict[tuple[str, str], float | None]:
    """Return Kendall's tau of every two of SAPA's comparisons, over the upsamplers that both have."""
    values = {name: _values(*place) for name, place in SAPA.items()}
    found = {}
    for one, other in itertools.combinations(values, 2):
        common = [name for name in values[one] if name in values[other]]
        found[one, other] = kendall_tau([values[one][n] for n in common], [values[other][n] for n in common])
    return found


def _values(name: str, host: str, part: str | None, metric: str) -> Mapping[str, float]:
    """The values of a table by upsampler, larger for better."""
    table = papers.table(name)
    sign = -1 if table.metrics[metric].better == "lower" else 1
    rows = [row for row in table.rows if row.host == host and row.subtask == part and metric in row.values]
    return {"plain" if row.upsampler in PLAIN else row.upsampler: sign * row.values[metric] for row in rows}
