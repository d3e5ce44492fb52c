"""The counts of an upsampler in a stage of a host model, of any size, from counts at small sizes.

The module is built for the channels of the stage and counted at three small maps. Every part of its counts is a fixed
number for each sample plus a number for each low-resolution pixel; two of the maps give both, and the third proves
it. Where it does not hold the module is counted at the size of the stage instead, on shapes without values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from functools import cache
from typing import Any

import torch
from torch import nn

from upbench import registry
from upbench.cards import Card, Setting
from upbench.conventions import Breakdown
from upbench.errors import SpecError
from upbench.measure import breakdown, counting
from upbench.upsamplers._base import Upsampler

SIZES = ((4, 4), (4, 6), (6, 8))
"""Height and width of the small maps. The guide of the smallest is 8x8, which A2U pools to 6x6."""
SMALLER = ((2, 2), (2, 4), (4, 4))
"""Those of a scale of 8 or more, whose results are as large. Even, so that half a scale gives whole pixels."""
PARAMETERS = ("weights", "position_bias", "biases", "norm_affine")
"""Fields of a breakdown that count parameters."""
PARTS = tuple(f.name for f in fields(Breakdown) if f.name not in PARAMETERS)
"""Fields of a breakdown that count operations."""


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
    """Count one call on x [batch, channels, height, width]; the counts are those of the whole batch.

    Args:
        upsampler: Name of the upsampler.
        params: Its params; the others have their defaults.
        channels: Channels of x.
        guide_channels: Channels of the guide, where it takes one.
        scale: Scale.
        height: Height of x in pixels.
        width: Width of x in pixels.
        batch: Number of samples.

    Raises:
        SpecError: With every mistake, if the upsampler cannot be built this way.
    """
    key = (upsampler, tuple(sorted(params.items())), channels, guide_channels, scale)
    fixed, slope = _rates(*key)
    if fixed is None or slope is None:
        return _at_size(*key, height, width, batch)
    low = height * width
    parts = {p: batch * (getattr(fixed, p) + getattr(slope, p) * low) for p in PARTS}
    return Breakdown(**parts, **{p: getattr(slope, p) for p in PARAMETERS})


@cache
def parameters(
    upsampler: str, params: tuple[tuple[str, Any], ...], channels: int, guide_channels: int, scale: float
) -> Breakdown:
    """Count the parameters alone, of a module that is built without memory.

    Args:
        upsampler: Name of the upsampler.
        params: Its params, as sorted pairs.
        channels: Channels of x.
        guide_channels: Channels of the guide, where it takes one.
        scale: Scale.

    Raises:
        SpecError: With every mistake, if the upsampler cannot be built this way.
    """
    with torch.device("meta"):
        return Breakdown(**breakdown.parameters(_built(*_judged(upsampler, params, channels, guide_channels, scale))))


def per_pixel(
    upsampler: str, params: Mapping[str, Any], channels: int, guide_channels: int, scale: float
) -> Breakdown | None:
    """Return the counts that one more low-resolution pixel adds, and the parameters.

    Args:
        upsampler: Name of the upsampler.
        params: Its params; the others have their defaults.
        channels: Channels of x.
        guide_channels: Channels of the guide, where it takes one.
        scale: Scale.

    Returns:
        The counts; None where they do not grow by the same number with every pixel.

    Raises:
        SpecError: With every mistake, if the upsampler cannot be built this way.
    """
    return _rates(upsampler, tuple(sorted(params.items())), channels, guide_channels, scale)[1]


@cache
def _rates(
    upsampler: str, params: tuple[tuple[str, Any], ...], channels: int, guide_channels: int, scale: float
) -> tuple[Breakdown | None, Breakdown | None]:
    """Return the counts of a sample of no pixels, and of each pixel; None, None where they are not linear."""
    card, setting = _judged(upsampler, params, channels, guide_channels, scale)
    module = _built(card, setting)
    least = card.least_size(setting)
    small = SMALLER if scale >= 8 else SIZES
    sizes = [(max(height, least), max(width, least)) for height, width in small]
    if len(set(sizes)) < len(sizes):
        sizes = [(height + least, width + least) for height, width in small]
    low = [height * width for height, width in sizes]
    smaller = (replace(setting, batch=1, height=height, width=width) for height, width in sizes)
    found = [asdict(_counted(card, module, one, "cpu")) for one in smaller]
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
def _at_size(
    upsampler: str,
    params: tuple[tuple[str, Any], ...],
    channels: int,
    guide_channels: int,
    scale: float,
    height: int,
    width: int,
    batch: int,
) -> Breakdown:
    """Count one call at a size; on the meta device no value is computed, so that any size fits in memory."""
    card, setting = _judged(upsampler, params, channels, guide_channels, scale)
    return _counted(
        card, _built(card, setting).to("meta"), replace(setting, batch=batch, height=height, width=width), "meta"
    )


def _counted(card: Card, module: nn.Module, setting: Setting, device: str) -> Breakdown:
    """Count one call of a module on a device, on inputs of a setting's size."""
    x = (setting.batch, setting.channels, setting.height, setting.width)
    tensors = tuple(torch.zeros(shape, device=device) for shape in (x, *card.guide_shapes(setting)))
    return breakdown.count(module, tensors, counting.count(module, tensors))


def _judged(
    upsampler: str, params: tuple[tuple[str, Any], ...], channels: int, guide_channels: int, scale: float
) -> tuple[Card, Setting]:
    card = registry.get(upsampler)
    setting = registry.setting_of(card, channels, guide_channels, scale, dict(params))
    if mistakes := card.mistakes(setting):
        raise SpecError(mistakes)
    return card, setting


def _built(card: Card, setting: Setting) -> nn.Module:
    """Return the module in evaluation mode, on its plain ops, which call every layer that hooks count."""
    module = registry.construct(card, setting, seed=0).eval()
    if isinstance(module, Upsampler):
        module.backend = "eager"
    return module
