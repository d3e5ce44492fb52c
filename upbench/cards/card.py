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
    """Where an upsampler was published; `code` names the released repository and commit that ours equals."""

    title: str
    venue: str
    year: int | None
    code: str | None = None


@dataclass(frozen=True)
class Param:
    """One parameter of an upsampler, with its default and what it may be.

    `released` is the name the released constructor gives it. `minimum`, `odd` and `choices` limit the value.
    Of a user's own class: `required` ones have no default, `positional` ones cannot be given by name. Where the default is
    an object that no spec can hold, `own` holds it (alone in a tuple) and `default` is the text that stands for it; unless
    `settable`, a spec can only leave it.
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
        return self.kind or type(self.default)

    def allowed(self) -> str:
        """What the parameter may be, in words."""
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
        """A sentence that says why `value` cannot be, or None."""
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
        """What the constructor is given for a value of a spec: its own default where the value stands for it."""
        if not self.own:
            return value
        (default,) = self.own
        if value == self.default:
            return default
        return tuple(value) if isinstance(default, tuple) and isinstance(value, list) else value


@dataclass(frozen=True)
class Setting:
    """One upsampler with every value filled in, and optionally the size of its input, for rules and counts.

    Shapes: x is [batch, channels, height, width], guide is [batch, guide_channels, out_height, out_width].
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
        return math.floor(self.height * self.scale)

    @property
    def out_width(self) -> int:
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
    """Multiply-accumulates of one call: convolutions and linear layers, and gathers (sampling at 4 per value,
    similarity, assembly)."""

    conv: int = 0
    gather: int = 0


def no_rules(setting: Setting) -> list[str]:
    return []


@dataclass(frozen=True)
class Card:
    """All that is known of an upsampler without torch.

    name: the name in specs. module: "package.module:Class". scales: "any", "integer" or "2".
    count_params and count_macs: closed forms; None where there is none (a user's own upsampler).
    rules: combinations of values that the method cannot do, a sentence for each that is broken.
    fixed: constructor arguments that this name stands for and a user does not set.
    fused_ops: those of its ops that a backend may compute; none: it is only eager.
    by_keyword: whether channels and scale are given by name. more_keywords: whether the constructor has **kwargs.
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
        return {p.name: p.default for p in self.params if not p.required}

    def mistakes(self, setting: Setting) -> list[str]:
        """Every sentence that says why this setting cannot be built; empty when it can."""
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
    """The mistake of a count `name` that does not divide `number`, or nothing."""
    count = setting[name]
    if number % count == 0:
        return []
    options = [str(d) for d in range(1, min(number, 64) + 1) if number % d == 0]
    return [f"params.{name} is {count}, which does not divide {what} ({number}); possible here: {', '.join(options)}"]
