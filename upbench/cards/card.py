"""What upbench knows about an upsampler without importing torch: its card.

A card names the module that computes it, its parameters and their limits, the paper, the closed forms of its
parameter and multiply-accumulate counts, and where the released code and the paper differ. `upbench list` and
`upbench show` read cards only, which is why they answer before torch could be imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from upbench.cards.param import Param as Param
from upbench.cards.setting import ANY_IMAGE as ANY_IMAGE
from upbench.cards.setting import FEATURE as FEATURE
from upbench.cards.setting import HIDDEN as HIDDEN
from upbench.cards.setting import IMAGE as IMAGE
from upbench.cards.setting import UPSAMPLED as UPSAMPLED
from upbench.cards.setting import Guide as Guide
from upbench.cards.setting import Macs as Macs
from upbench.cards.setting import Setting as Setting
from upbench.errors import suggestion


@dataclass(frozen=True)
class Paper:
    """Where an upsampler was published.

    Args:
        title: the title of the paper.
        venue: the conference or journal, or the number on arXiv.
        year: the year, None where there is none.
        code: the released repository and commit that ours equals, None where nothing was released.
        licence: of that repository; None where it is not known, "none" where there is none.
    """

    title: str
    venue: str
    year: int | None
    code: str | None = None
    licence: str | None = None


def no_rules(setting: Setting) -> list[str]:
    """Allow every setting."""
    return []


@dataclass(frozen=True)
class Card:
    """All that is known of an upsampler without torch.

    Args:
        name: the name in specs.
        module: "package.module:Class".
        summary: what it does, in half a sentence.
        paper: where it was published, None where it was not.
        params: its parameters.
        guides: the further inputs, in the order of the call.
        scales: "any", "integer", or the only scale as text.
        scales_with: gives the scales where the params decide.
        any_size: whether the output may have any size, whatever the scale.
        count_params: closed form of its parameters, None where there is none (a user's own class).
        count_macs: closed form of its MACs, None where there is none.
        rules: gives a sentence for each combination of values that the method cannot do.
        fixed: arguments of the constructor that this name stands for and a user does not set.
        notes: where paper, release and ours differ, a sentence each.
        origin: where it comes from, for messages.
        fused_ops: those of its ops that a backend may compute; none where it is only eager.
        by_keyword: whether channels and scale are given by name.
        more_keywords: whether the constructor has **kwargs.
        output_channels: gives the channels of the result, those of x by default.
        outputs: what it returns, more than one map where there is more than one name.
        batch_independent: whether a sample's result depends on it alone.
        guide_gradient: whether the guides get a gradient.
        dead_parameters: gives the keys of released parameters that never reach the output; they are counted as released.
        least_size: gives the smallest side of x.
        rounding: why weights and inputs rounded to bfloat16 already move the result by a percent or so; None where it
            stays within one percent.
    """

    name: str
    module: str
    summary: str
    paper: Paper | None
    params: tuple[Param, ...] = ()
    guides: tuple[Guide, ...] = ()
    scales: str = "integer"
    scales_with: Callable[[Setting], str] | None = None
    any_size: bool = False
    count_params: Callable[[Setting], int] | None = None
    count_macs: Callable[[Setting], Macs] | None = None
    rules: Callable[[Setting], list[str]] = no_rules
    fixed: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    origin: str = "built in"
    fused_ops: tuple[str, ...] = ()
    by_keyword: bool = False
    more_keywords: bool = False
    output_channels: Callable[[Setting], int] = lambda setting: setting.channels
    outputs: tuple[str, ...] = UPSAMPLED
    batch_independent: bool = True
    guide_gradient: bool = True
    dead_parameters: Callable[[Setting], tuple[str, ...]] = lambda setting: ()
    least_size: Callable[[Setting], int] = lambda setting: 1
    rounding: str | None = None

    @property
    def guided(self) -> bool:
        """Whether it takes a guide."""
        return bool(self.guides)

    @property
    def guide_kind(self) -> str | None:
        """The kind of its guides, None without."""
        return self.guides[0].kind if self.guides else None

    @property
    def only_scale(self) -> int | None:
        """The scale of a method that has only one."""
        return int(self.scales) if self.scales.isdigit() else None

    @property
    def default_scale(self) -> int:
        """The only scale that it has, else 2."""
        return self.only_scale or 2

    def default_guide_channels(self, channels: int) -> int:
        """Channels of the guides where nobody says otherwise."""
        return (self.guides[0].channels if self.guides else None) or channels

    def guide_shapes(self, setting: Setting) -> list[tuple[int, int, int, int]]:
        """Return the shape of every guide: [batch, guide_channels, height, width]."""
        return [(setting.batch, setting.guide_channels, *guide.size_in(setting)) for guide in self.guides]

    @property
    def fused(self) -> bool:
        """Whether it has ops that a backend may compute."""
        return bool(self.fused_ops)

    def defaults(self) -> dict[str, Any]:
        """Give the default of every parameter that has one."""
        return {p.name: p.default for p in self.params if not p.required}

    def mistakes(self, setting: Setting) -> list[str]:
        """Say why a setting cannot be built, a sentence for each reason; none when it can."""
        found = self.param_mistakes(setting.params)
        known = {p.name: p for p in self.params}
        sound = {k: v for k, v in setting.params.items() if k in known and known[k].mistake(v) is None}
        setting = replace(setting, params={**self.defaults(), **sound})
        if sentence := self._scale_mistake(setting):
            return [*found, sentence]
        return found + self.rules(setting)

    def param_mistakes(self, params: Mapping[str, Any]) -> list[str]:
        """Say what is wrong with params, each by itself; the rules between them and the map are left out."""
        known = {p.name: p for p in self.params}
        found = [self._unknown(key) for key in params if key not in known]
        found += [
            f"params.{p.name} has no default: give --set {p.name}=VALUE, or {p.name} under params in a file"
            for p in self.params
            if p.required and p.name not in params
        ]
        for key, value in params.items():
            if key in known and (sentence := known[key].mistake(value)):
                found.append(f"params.{sentence}")
        return found

    def size_mistakes(self, setting: Setting) -> list[str]:
        """Return what is wrong with the sizes of a sound setting whose input is known."""
        found = []
        least, size = self.least_size(setting), f"{setting.height}x{setting.width}"
        if min(setting.height, setting.width) < least:
            found.append(
                f"input.shape is {size} in height and width, but {self.name} needs at least {least}x{least} here; "
                f"give a larger input.shape"
            )
        if setting.output is not None and not self.any_size:
            away = [
                abs(math.ceil(o / setting.scale) - n)
                for o, n in zip(setting.output, (setting.height, setting.width), strict=True)
            ]
            if max(away) > 1:
                found.append(
                    f"input.output_size is {setting.output[0]}x{setting.output[1]}, but {self.name} makes scale times "
                    f"{size}, and at most one input pixel more or less; choose another size, or another scale"
                )
        if setting.image is not None:
            for guide in self.guides:
                wanted = guide.size_in(setting)
                if guide.kind == "image" and wanted != setting.image:
                    found.append(
                        f"input.guide_size is {setting.image[0]}x{setting.image[1]}, but {self.name} needs an image of "
                        f"{wanted[0]}x{wanted[1]} here"
                    )
        return found

    def _unknown(self, key: str) -> str:
        names = [p.name for p in self.params]
        listed = ", ".join(names) if names else "none"
        if self.more_keywords:
            listed += " (and **kwargs, of which the names cannot be known; name this one in __init__)"
        return f"params.{key} is not a parameter of {self.name}, which has: {listed}{suggestion(key, names)}"

    def _scale_mistake(self, setting: Setting) -> str | None:
        scale, scales = setting.scale, self.scales_with(setting) if self.scales_with else self.scales
        if scale < 1:
            return f"scale is {scale:g}, but an upsampler needs a scale of at least 1"
        if scales.isdigit() and scale != int(scales):
            return f"scale is {scale:g}, but {self.name} is defined for scale {scales} only"
        if scales == "integer" and scale != int(scale):
            return f"scale is {scale:g}, but {self.name} can do whole numbers only; `upbench list` shows which upsamplers take any"
        return None


def divides(setting: Setting, name: str, number: int, what: str) -> list[str]:
    """Check that a parameter divides a number.

    Args:
        setting: the setting that holds the parameter.
        name: the name of the parameter.
        number: the number.
        what: what the number is, for the message.

    Returns:
        The mistake as a sentence, alone in a list; nothing where it divides.
    """
    count = setting[name]
    if number % count == 0:
        return []
    options = [str(d) for d in range(1, min(number, 64) + 1) if number % d == 0]
    return [f"params.{name} is {count}, which does not divide {what} ({number}); possible here: {', '.join(options)}"]
