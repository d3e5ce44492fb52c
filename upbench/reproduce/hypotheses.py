"""What the audit may try: hypotheses as data, judged when they are read.

A hypothesis changes one thing of what a paper states: a setting, the version of the module, the way of counting, the
counting convention, or the variant of the host. `hypotheses.yaml` lists them with their reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import as_file, files
from typing import Any, Literal

from pydantic import Field, model_validator

from upbench import cards, conventions, registry
from upbench.papers import settings as settings_of_tables
from upbench.specs import yaml_file
from upbench.specs.strict import Many, Strict, load


class Stated(Strict):
    """A statement of a paper: params of an upsampler (at some hosts), or the table of settings that has them."""

    paper: str
    upsampler: str
    hosts: Many[str] = ()
    params: dict[str, Any] = Field(default_factory=dict)
    table: str | None = None
    why: str


class Declared(Strict):
    """The way in which a paper says that it counts."""

    paper: str
    params: str
    flops: str
    way: str | None = None
    why: str


class Setting(Strict):
    """Values of one parameter that a paper or a release uses."""

    upsampler: str
    param: str
    values: Many[Any]
    why: str


class Change(Strict):
    """Another version of a module, or another way of counting it: parts of the count are multiplied and added to.

    Args:
        upsamplers: The upsamplers that it is about; none stands for all.
        times: The factor of each part of a `Breakdown`, as a formula in C (channels), G (guide channels), s (scale)
            and V (values of the result).
        adds: What is added to each part, as such a formula.
    """

    name: str
    upsamplers: Many[str] = ()
    words: str
    why: str
    times: dict[str, str] = Field(default_factory=dict)
    adds: dict[str, str] = Field(default_factory=dict)

    def applies(self, upsampler: str) -> bool:
        """Return whether the change is about an upsampler."""
        return not self.upsamplers or upsampler in self.upsamplers


class Remark(Strict):
    """A note on a figure that is not reproduced; the search does not read it."""

    tables: Many[str]
    row: str
    quantity: Literal["params", "flops"]
    text: str


class Conventions(Strict):
    """Names of conventions, the more plausible first."""

    params: Many[str]
    flops: Many[str]


class Hypotheses(Strict):
    """Everything that may be tried.

    Args:
        departures: The most things that one explanation may change.
        chance: The share of neighbouring figures with an explanation as good, from which on one with departures says nothing.
    """

    about: str
    departures: int = Field(ge=0, description="an integer of at least 0")
    chance: float = Field(gt=0, le=1, description="a number above 0, at most 1")
    conventions: Conventions
    without: dict[str, Any] = Field(default_factory=dict)
    declared: Many[Declared] = ()
    stated: Many[Stated] = ()
    settings: Many[Setting] = ()
    versions: Many[Change] = ()
    ways: Many[Change] = ()
    remarks: Many[Remark] = ()

    @model_validator(mode="after")
    def _judge(self) -> Hypotheses:
        known = cards.builtin()
        named: list[Stated | Setting] = [*self.stated, *self.settings]
        unknown = sorted({h.upsampler for h in named} - set(known))
        unknown += sorted({u for c in (*self.versions, *self.ways) for u in c.upsamplers} - set(known))
        if unknown:
            raise ValueError(f"unknown upsamplers: {', '.join(unknown)}")
        for setting in self.settings:
            if setting.param not in known[setting.upsampler].defaults():
                raise ValueError(f"{setting.upsampler} has no parameter {setting.param}")
        parts = set(vars(conventions.Breakdown()))
        unknown_parts = sorted({p for c in (*self.versions, *self.ways) for p in (*c.times, *c.adds)} - parts)
        if unknown_parts:
            raise ValueError(f"unknown parts of a count: {', '.join(unknown_parts)}; known: {', '.join(sorted(parts))}")
        ways = [w.name for w in self.ways]
        if unknown_ways := [d.way for d in self.declared if d.way is not None and d.way not in ways]:
            raise ValueError(f"declared: unknown way {unknown_ways[0]!r}; known: {', '.join(ways)}")
        return self

    def change(self, name: str) -> Change:
        """Return the version or the way of counting with a name.

        Raises:
            KeyError: There is none.
        """
        return {c.name: c for c in (*self.versions, *self.ways)}[name]

    def declares(self, paper: str) -> Declared | None:
        """Return how a paper says that it counts; None where it does not say."""
        return next((d for d in self.declared if d.paper == paper), None)

    def params(self, upsampler: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return published settings as parameters of the upsampler; what is none of them is left out."""
        return settings_of_tables.known(settings, registry.get(upsampler))

    def has(self, upsampler: str, settings: Mapping[str, Any]) -> bool:
        """Return whether the upsampler can have published settings, as far as `without` says."""
        known = registry.get(upsampler).defaults()
        names = {settings_of_tables.NAMES.get(name, name): value for name, value in settings.items()}
        return all(names.get(key, fixed) == fixed for key, fixed in self.without.items() if key not in known)


@cache
def hypotheses() -> Hypotheses:
    """Return the hypotheses of the package.

    Raises:
        SpecError: The file has mistakes; the error lists all of them.
    """
    with as_file(files("upbench.reproduce").joinpath("hypotheses.yaml")) as path:
        return load(Hypotheses, yaml_file.read(path)[0], "reproduce/hypotheses.yaml")
