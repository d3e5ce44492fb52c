"""A site is one upsampling call inside a model; what is known of it stands here, and the rule that judges it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Sizes = tuple[int, ...]

MAP = "feature map"
"""The kind of a site that a learned upsampler can take over."""
BY_NAME = ("prediction", "pooled map", "learned")
"""Kinds of sites that are replaced only where they are named one by one."""


@dataclass(frozen=True)
class GuideSource:
    """A tensor of the output's size that is at hand when a site is called.

    Args:
        origin: "argument" of the owner's forward, or "child": the output of one of its children earlier in this forward.
        name: Path of the argument, as "0.feat2", or name of the child relative to the owner.
        call: Which call of the child in one forward of the owner.
        channels: Its channels.
    """

    origin: str
    name: str
    call: int
    channels: int

    def __str__(self) -> str:
        return f"{self.origin} {self.name} ({self.channels})"


@dataclass(frozen=True)
class Site:
    """One upsampling call of a model.

    Args:
        module: Qualified name of the module whose forward makes the call; "" for the model itself.
        call: Its number among the upsampling calls of that module in one forward of the model, from 0.
        per_forward: How many such calls one forward of that module makes.
        op: "interpolate", "pixel_shuffle", "conv_transpose2d" or "max_unpool2d".
        mode: Mode of the interpolation; None for the other ops.
        align_corners: As in torch; None where the mode has none.
        input: Shape of the map [B, C, H, W].
        output: Shape of the result.
        kind: "feature map", or why it is none: "identity", "downsampling", "pooled map", "image", "prediction",
            "one channel", "parameters", "learned", "channels", "ragged", "not 2-D".
        scale: The whole scale at which an upsampler would be built; None where there is none.
        guides: Tensors of the output's size that are at hand.
        why_not: Sentence that says why it is not replaced; None for a feature map.
        by_name: Whether the owner's class makes the call by a global name, see `rebinding`.
    """

    module: str
    call: int
    per_forward: int
    op: str
    mode: str | None
    align_corners: bool | None
    input: Sizes
    output: Sizes
    kind: str = MAP
    scale: int | None = None
    guides: tuple[GuideSource, ...] = ()
    why_not: str | None = None
    by_name: bool = False

    @property
    def name(self) -> str:
        """The owner's qualified name and the number of the call, as "backbone.fpn:0"."""
        return f"{self.module or 'model'}:{self.call}"

    @property
    def channels(self) -> int:
        """Channels of the map."""
        return self.input[1]

    @property
    def learnable(self) -> bool:
        """Whether an upsampler of features belongs there."""
        return self.kind == MAP

    @property
    def guide(self) -> GuideSource | None:
        """The guide: the only one with as many channels as the map, or the only such that a child made; else the only one.

        A child's output goes before an argument, since a pyramid's lateral is made of the argument it would compete with.
        """
        alike = [source for source in self.guides if source.channels == self.channels]
        made = [source for source in alike if source.origin == "child"]
        for sources in (alike, made, [] if alike else list(self.guides)):
            if len(sources) == 1:
                return sources[0]
        return None

    @property
    def text(self) -> str:
        """The call in one word, as "bilinear, align_corners"."""
        return ", ".join([self.mode or self.op, *(["align_corners"] if self.align_corners else [])])


def whole_scale(size: Sequence[int], target: Sequence[int]) -> int | None:
    """Return the whole scale s with ceil(target / s) = size along both axes, so that a crop gives the target.

    Args:
        size: Height and width of the map.
        target: Height and width of the result.

    Returns:
        The scale, at least 2; None where there is none.
    """
    for scale in sorted({math.ceil(t / n) for n, t in zip(size, target, strict=True)}):
        if scale >= 2 and all(math.ceil(t / scale) == n for n, t in zip(size, target, strict=True)):
            return scale
    return None


def judge(
    op: str, given: Sequence[int], made: Sequence[int], flags: frozenset[str], predicts: bool
) -> tuple[str, str | None]:
    """Return the kind of a site and the sentence that says why no upsampler of features belongs there.

    Args:
        op: The op.
        given: Shape of the map.
        made: Shape of the result.
        flags: Where the map comes from: "image", "pooled", "parameters".
        predicts: Whether the result leaves the model with no learned layer after it.

    Returns:
        The kind, and the sentence; None for a feature map.
    """
    if len(given) != 4 or len(made) != 4:
        return "not 2-D", f"it resizes a tensor of {len(given)} dimensions, not [batch, channels, height, width]"
    (_, channels, *size), (_, out_channels, *target) = given, made
    if "parameters" in flags:
        return "parameters", "it resizes a table of parameters, such as position embeddings"
    if "image" in flags:
        return "image", "it resizes the image, not a feature map"
    if list(size) == list(target):
        return "identity", "its output has the size of its input"
    if any(t < n for n, t in zip(size, target, strict=True)):
        return "downsampling", f"it makes {_by(target)} of {_by(size)}"
    if math.prod(size) == 1 or "pooled" in flags:
        return "pooled map", f"it spreads a map that was pooled to {_by(size)}"
    if predicts:
        return "prediction", "it only enlarges the model's prediction: no learned layer follows"
    if channels == 1:
        return "one channel", "its map has one channel"
    if channels != out_channels:
        return "channels", f"it makes {out_channels} channels of {channels}, and upsamplers of features keep them"
    if whole_scale(size, target) is None:
        return "ragged", f"{_by(target)} is no whole multiple of {_by(size)}, not even cropped"
    if op in ("conv_transpose2d", "max_unpool2d"):
        return "learned", f"it is an upsampler already ({op})"
    return MAP, None


def _by(size: Sequence[int]) -> str:
    return "x".join(map(str, size))
