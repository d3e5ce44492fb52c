"""The table of a model's upsampling calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from upbench import units
from upbench.report.formats.table import Table

if TYPE_CHECKING:
    from upbench.models.site import Site

RAW = [
    "site",
    "module",
    "call",
    "op",
    "mode",
    "align_corners",
    "channels",
    "height",
    "width",
    "output_channels",
    "output_height",
    "output_width",
    "kind",
    "scale",
    "guide",
    "upsampler",
    "why_not",
]


def listing(sites: Sequence[Site], title: str, answered: Mapping[str, str] | None = None) -> Table:
    """Return one row for each upsampling call of a model.

    Args:
        sites: The calls, in the order of a forward.
        title: The title.
        answered: Name of a site -> the upsampler that answers it.
    """
    answered = answered or {}
    rows = []
    for site in sites:
        to = answered.get(site.name)
        rows.append(
            [
                site.name,
                site.text,
                _shape(site.input),
                _result(site),
                str(site.guide) if site.guide else units.DASH,
                to or ("yes" if site.learnable else f"no: {site.kind}"),
            ]
        )
    reasons = dict.fromkeys(f"{site.kind}: {site.why_not}." for site in sites if site.why_not)
    learnable = sum(site.learnable for site in sites)
    return Table(
        title=title,
        heads=["Site", "Call", "Map", "Result", "Guide at hand", "Replaced by" if answered else "Replaceable"],
        rows=rows,
        numeric=[False] * 6,
        raw_heads=list(RAW),
        raw_rows=[_raw(site, answered.get(site.name)) for site in sites],
        notes=[
            f"{len(sites)} upsampling call{'' if len(sites) == 1 else 's'}, {learnable} of feature maps. A site is the module that makes the call and the "
            "number of the call. Guide at hand: a tensor of the result's size and its channels.",
            *reasons,
        ],
        lead=1,
        label="sites",
    )


def _raw(site: Site, answered: str | None) -> list[Any]:
    def size(shape: Sequence[int]) -> list[int | None]:
        return list(shape[1:]) if len(shape) == 4 else [None] * 3

    guide = str(site.guide) if site.guide else None
    call = [site.name, site.module, site.call, site.op, site.mode, site.align_corners]
    return [*call, *size(site.input), *size(site.output), site.kind, site.scale, guide, answered, site.why_not]


def _result(site: Site) -> str:
    """Return the size of the result with the scale, and its channels where they are not those of the map."""
    same = len(site.input) == len(site.output) == 4 and site.channels == site.output[1]
    text = _shape((0, *site.output[2:]) if same else site.output)
    return text if site.scale is None else f"{text} (x{site.scale})"


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape[1:]))
