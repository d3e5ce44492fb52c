"""What an upsampler counts at one place of a host model.

The module is built for the place's channels and counted at three small maps. Every part of its counts is a fixed
number for each sample plus a number for each low-resolution pixel; two of the maps give both, and the third proves
it. Where it does not hold the module is counted at the place's own size instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import cache
from typing import Any

import torch
from torch import nn

from upbench import registry
from upbench.conventions import Breakdown
from upbench.errors import SpecError
from upbench.measure import breakdown, counting
from upbench.upsamplers._base import Upsampler

# The guide of the smallest is 8x8: A2U pools it to 6x6.
SIZES = ((4, 4), (4, 6), (6, 8))
PARAMETERS = ("weights", "position_bias", "biases", "norm_affine")
PARTS = tuple(f.name for f in fields(Breakdown) if f.name not in PARAMETERS)


def count(
    upsampler: str,
    params: Mapping[str, Any],
    channels: int,
    guide_channels: int,
    scale: float,
    height: int,
    width: int,
    batch: int = 1,
) -> Breakdown:
    """Every part of the counts of one call at x: [batch, channels, height, width]; counts of the whole batch.

    Raises SpecError with every mistake when the upsampler cannot be built so.
    """
    key = (upsampler, tuple(sorted(params.items())), channels, guide_channels, scale)
    fixed, slope = _rates(*key)
    if fixed is None or slope is None:
        return _counted(*key, height, width, batch)
    low = height * width
    parts = {p: batch * (getattr(fixed, p) + getattr(slope, p) * low) for p in PARTS}
    return Breakdown(**parts, **{p: getattr(slope, p) for p in PARAMETERS})


@cache
def parameters(
    upsampler: str, params: tuple[tuple[str, Any], ...], channels: int, guide_channels: int, scale: float
) -> Breakdown:
    """The parameters alone, of a module that is built without memory. Raises as `count` does."""
    with torch.device("meta"):
        return Breakdown(**breakdown.parameters(_built(upsampler, params, channels, guide_channels, scale)))


def per_pixel(
    upsampler: str, params: Mapping[str, Any], channels: int, guide_channels: int, scale: float
) -> Breakdown | None:
    """What one more low-resolution pixel costs, and the parameters; None where that is not one number."""
    return _rates(upsampler, tuple(sorted(params.items())), channels, guide_channels, scale)[1]


@cache
def _rates(
    upsampler: str, params: tuple[tuple[str, Any], ...], channels: int, guide_channels: int, scale: float
) -> tuple[Breakdown | None, Breakdown | None]:
    """Counts of a sample of no pixels, and of each pixel; None, None where they are not straight lines."""
    low = [height * width for height, width in SIZES]
    found = [asdict(_counted(upsampler, params, channels, guide_channels, scale, *size, 1)) for size in SIZES]
    slopes, fixed = {}, {}
    for part in PARTS:
        rise = found[1][part] - found[0][part]
        slopes[part], rest = divmod(rise, low[1] - low[0])
        fixed[part] = found[0][part] - slopes[part] * low[0]
        if rest or fixed[part] + slopes[part] * low[2] != found[2][part]:
            return None, None
    same = {part: found[0][part] for part in PARAMETERS}
    return Breakdown(**fixed, **same), Breakdown(**slopes, **same)


@cache
def _counted(
    upsampler: str,
    params: tuple[tuple[str, Any], ...],
    channels: int,
    guide_channels: int,
    scale: float,
    height: int,
    width: int,
    batch: int,
) -> Breakdown:
    """One real count of the built module."""
    card = registry.get(upsampler)
    module = _built(upsampler, params, channels, guide_channels, scale)
    setting = registry.setting_of(card, channels, guide_channels, scale, dict(params))
    shapes = [(batch, channels, height, width)]
    if card.guided:
        shapes.append((batch, guide_channels, int(height * setting.scale), int(width * setting.scale)))
    tensors = tuple(torch.zeros(shape) for shape in shapes)
    return breakdown.count(module, tensors, counting.count(module, tensors))


def _built(
    upsampler: str, params: tuple[tuple[str, Any], ...], channels: int, guide_channels: int, scale: float
) -> nn.Module:
    """The module in evaluation mode, on its plain ops: they are the truth, and call every layer that hooks count."""
    card = registry.get(upsampler)
    setting = registry.setting_of(card, channels, guide_channels, scale, dict(params))
    if mistakes := card.mistakes(setting):
        raise SpecError(mistakes)
    module = registry.construct(card, setting, seed=0).eval()
    if isinstance(module, Upsampler):
        module.backend = "eager"
    return module
