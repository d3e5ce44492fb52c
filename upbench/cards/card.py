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

from upbench.errors import suggestion


@dataclass(frozen=True)
class Paper:
    """Where an upsampler was published.

    Args:
        title: the title of the paper.
        venue: the conference or journal, or the number on arXiv.
        year: the year, None where there is none.
        code: the released repository and commit that ours equals, None where nothing was released.
    """

    title: str
    venue: str
    year: int | None
    code: str | None = None


@dataclass(frozen=True)
class Param:
    """One parameter of an upsampler, with its default and what it may be.

    Args:
        name: the name in specs and of the constructor's argument.
        default: the default; of a user's own class the text that stands for it where no spec can hold it.
        doc: what it is, in words.
        released: the name that the released constructor gives it, None where nothing was released.
        minimum: the least value, None for no bound.
        odd: whether the value must be odd.
        choices: the values that are allowed, None for all of the type.
        kind: the type of the value, None for that of the default.
        required: whether there is no default.
        positional: whether it cannot be given by name.
        settable: whether a spec may set it.
        own: the default itself, alone in a tuple, where `default` only stands for it.
    """

    name: str
    default: Any
    doc: str
    released: str | None = None
    minimum: float | None = None
    odd: bool = False
    choices: tuple[Any, ...] | None = None
    kind: type | None = None
    required: bool = False
    positional: bool = False
    settable: bool = True
    own: tuple[Any, ...] = field(default=(), compare=False, repr=False)

    @property
    def type(self) -> type:
        """The type that values must have."""
        return self.kind or type(self.default)

    def allowed(self) -> str:
        """Say in words what the parameter may be."""
        if not self.settable:
            return "not settable here: an object of the class"
        if self.choices:
            return "one of " + ", ".join(_yaml(c) for c in self.choices)
        if self.type is bool:
            return "true or false"
        noun = {int: "integer", float: "number", str: "text", list: "list" if self.own else None}.get(self.type)
        if noun is None:
            return "any value"
        text = f"an odd {noun}" if self.odd else f"{'an' if noun == 'integer' else 'a'} {noun}"
        return text if self.minimum is None else f"{text} of at least {self.minimum:g}"

    def mistake(self, value: Any) -> str | None:
        """Say in a sentence why the parameter cannot be `value`, or give None where it can."""
        if self.own and value == self.default:
            return None
        if not self.settable:
            return (
                f"{self.name} cannot be set from YAML or --set, since its default {self.default} is an object; leave it "
                f"out, or name a class of your own that sets it"
            )
        if self.choices:
            ok = any(value == c and type(value) is type(c) for c in self.choices)
        elif self.type is bool:
            ok = isinstance(value, bool)
        elif self.type is int:
            ok = isinstance(value, int) and not isinstance(value, bool)
        elif self.type is float:
            ok = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        elif self.type is str:
            ok = isinstance(value, str)
        elif self.type is list and self.own:
            ok = isinstance(value, list | tuple)
        else:
            ok = True
        if ok and self.minimum is not None:
            ok = value >= self.minimum
        if ok and self.odd:
            ok = value % 2 == 1
        return None if ok else f"{self.name} is {_yaml(value)}, but must be {self.allowed()}"

    def argument(self, value: Any) -> Any:
        """Give what the constructor is called with for a value of a spec: its own default where the value stands for it."""
        if not self.own:
            return value
        (default,) = self.own
        if value == self.default:
            return default
        return tuple(value) if isinstance(default, tuple) and isinstance(value, list) else value


@dataclass(frozen=True)
class Setting:
    """The configuration of one upsampler that rules and closed forms are evaluated on.

    Args:
        channels: channels of the low-resolution map.
        guide_channels: channels of the high-resolution guide.
        scale: output pixels per low-resolution pixel.
        params: the value of every parameter by name.
        batch: images.
        height: rows of the low-resolution map.
        width: columns of the low-resolution map.
    """

    channels: int
    guide_channels: int
    scale: float
    params: Mapping[str, Any]
    batch: int = 1
    height: int = 1
    width: int = 1

    def __getitem__(self, name: str) -> Any:
        return self.params[name]

    @property
    def out_height(self) -> int:
        """Rows of the output."""
        return math.floor(self.height * self.scale)

    @property
    def out_width(self) -> int:
        """Columns of the output."""
        return math.floor(self.width * self.scale)

    @property
    def low(self) -> int:
        """Low-resolution pixels of the whole batch."""
        return self.batch * self.height * self.width

    @property
    def high(self) -> int:
        """High-resolution pixels of the whole batch."""
        return self.batch * self.out_height * self.out_width


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of one call.

    Args:
        conv: those of convolutions and linear layers.
        gather: those of sampling (4 per value), similarity and assembly.
    """

    conv: int = 0
    gather: int = 0


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
        guided: whether it is called with a guide.
        scales: "any", "integer" or "2".
        count_params: closed form of its parameters, None where there is none (a user's own class).
        count_macs: closed form of its MACs, None where there is none.
        rules: gives a sentence for each combination of values that the method cannot do.
        fixed: arguments of the constructor that this name stands for and a user does not set.
        notes: where paper, release and ours differ, a sentence each.
        origin: where it comes from, for messages.
        fused_ops: those of its ops that a backend may compute; none where it is only eager.
        by_keyword: whether channels and scale are given by name.
        more_keywords: whether the constructor has **kwargs.
    """

    name: str
    module: str
    summary: str
    paper: Paper | None
    params: tuple[Param, ...] = ()
    guided: bool = False
    scales: str = "integer"
    count_params: Callable[[Setting], int] | None = None
    count_macs: Callable[[Setting], Macs] | None = None
    rules: Callable[[Setting], list[str]] = no_rules
    fixed: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    origin: str = "built in"
    fused_ops: tuple[str, ...] = ()
    by_keyword: bool = False
    more_keywords: bool = False

    @property
    def fused(self) -> bool:
        """Whether it has ops that a backend may compute."""
        return bool(self.fused_ops)

    def defaults(self) -> dict[str, Any]:
        """Give the default of every parameter that has one."""
        return {p.name: p.default for p in self.params if not p.required}

    def mistakes(self, setting: Setting) -> list[str]:
        """Say why a setting cannot be built, a sentence for each reason; none when it can."""
        known = {p.name: p for p in self.params}
        found = [self._unknown(key) for key in setting.params if key not in known]
        found += [
            f"params.{p.name} has no default: give --set {p.name}=VALUE, or {p.name} under params in a file"
            for p in self.params
            if p.required and p.name not in setting.params
        ]
        for key, value in setting.params.items():
            if key in known and (sentence := known[key].mistake(value)):
                found.append(f"params.{sentence}")
        if sentence := self._scale_mistake(setting.scale):
            return [*found, sentence]
        sound = {k: v for k, v in setting.params.items() if k in known and known[k].mistake(v) is None}
        return found + self.rules(replace(setting, params={**self.defaults(), **sound}))

    def _unknown(self, key: str) -> str:
        names = [p.name for p in self.params]
        listed = ", ".join(names) if names else "none"
        if self.more_keywords:
            listed += " (and **kwargs, of which the names cannot be known; name this one in __init__)"
        return f"params.{key} is not a parameter of {self.name}, which has: {listed}{suggestion(key, names)}"

    def _scale_mistake(self, scale: float) -> str | None:
        if scale < 1:
            return f"scale is {scale:g}, but an upsampler needs a scale of at least 1"
        if self.scales == "2" and scale != 2:
            return f"scale is {scale:g}, but {self.name} is defined for scale 2 only"
        if self.scales == "integer" and scale != int(scale):
            return f"scale is {scale:g}, but {self.name} can do whole numbers only; `upbench list` shows which upsamplers take any"
        return None


def _yaml(value: Any) -> str:
    """A value as it is written in YAML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    return repr(value) if isinstance(value, str) else str(value)


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
