"""What one explanation of a printed figure says, and what it gives: the sum over the stages of a host.

Pure: the counts of modules come from a function that is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

from upbench import cards, conventions
from upbench.conventions import Breakdown
from upbench.errors import SpecError
from upbench.papers.hosts import Host, Stage
from upbench.reproduce.arithmetic import evaluate
from upbench.reproduce.claims import Claim, Quantity
from upbench.reproduce.hypotheses import Change, Hypotheses

Counts = Callable[[str, Mapping[str, Any], Stage, Quantity], Breakdown]
"""(upsampler, params, stage, quantity) -> the parts of its count there, at least those of the quantity; raises
SpecError where it cannot be built."""


@dataclass(frozen=True)
class Model:
    """What is changed of the stated model: the host variant, settings, the version of the module."""

    variant: str | None = None
    settings: tuple[tuple[str, Any], ...] = ()
    version: str | None = None

    @property
    def departures(self) -> int:
        return (self.variant is not None) + len(self.settings) + (self.version is not None)


@dataclass(frozen=True)
class Counting:
    """What is added up, and how: a convention, and a way of counting that differs from ours."""

    convention: str
    way: str | None = None

    @property
    def quantity(self) -> Quantity:
        """What the convention counts; "all" is one of FLOPs here, because P2 is all of the parameters."""
        return "flops" if self.convention in conventions.FLOPS else "params"

    def departures(self, usual: Counting) -> int:
        return (self.convention != usual.convention) + (self.way != usual.way)


STATED = Model()


@dataclass(frozen=True)
class Try:
    """One explanation with the sum that it gives. departures: how many things it changes of what is stated."""

    model: Model
    counting: Counting
    value: int
    departures: int
    recounts: bool  # whether it leaves the convention of its column


class Sums:
    """Sums over stages, each computed once."""

    def __init__(self, counts: Counts, known: Hypotheses) -> None:
        self.counts, self.known = counts, known
        self._terms: dict[Any, tuple[tuple[Stage, int], ...] | None] = {}

    def value(self, claim: Claim, model: Model, counting: Counting) -> int | None:
        """The sum for a claim, or None where the model cannot be built or be placed there."""
        params = {**claim.stated, **dict(model.settings)}
        found = self.terms(claim.row.upsampler, params, stages(claim.host, model), model.version, counting)
        return None if found is None else sum(n for _, n in found)

    def terms(
        self,
        upsampler: str,
        params: Mapping[str, Any],
        places: Sequence[Stage],
        version: str | None,
        counting: Counting,
    ) -> tuple[tuple[Stage, int], ...] | None:
        """Each stage with its count, or None where the upsampler cannot be built at one of them."""
        quantity = counting.quantity
        key = (upsampler, tuple(sorted(params.items())), tuple(places), version, counting)
        if key not in self._terms:
            self._terms[key] = self._sum(upsampler, params, places, version, counting, quantity)
        return self._terms[key]

    def _sum(
        self,
        upsampler: str,
        params: Mapping[str, Any],
        places: Sequence[Stage],
        version: str | None,
        counting: Counting,
        quantity: Quantity,
    ) -> tuple[tuple[Stage, int], ...] | None:
        changes = [self.known.change(name) for name in (version, counting.way) if name is not None]
        add = conventions.params if quantity == "params" else conventions.flops
        found = []
        for stage in places:
            try:
                parts = self.counts(upsampler, params, stage, quantity)
            except SpecError:
                return None
            for change in changes:
                if change.applies(upsampler):
                    parts = changed(parts, change, stage)
            found.append((stage, add(parts, counting.convention)))
        return tuple(found)


def changed(parts: Breakdown, change: Change, stage: Stage) -> Breakdown:
    """The parts of a count at a stage under a version or a way of counting."""
    names = {"C": stage.channels, "G": stage.guide_channels, "s": stage.scale}
    new = {part: getattr(parts, part) * evaluate(text, names) for part, text in change.times.items()}
    for part, text in change.adds.items():
        new[part] = new.get(part, getattr(parts, part)) + evaluate(text, names)
    return replace(parts, **new)


def stages(host: Host, model: Model) -> tuple[Stage, ...]:
    return host.stages if model.variant is None else host.variants[model.variant].stages


@dataclass(frozen=True)
class Space:
    """Everything that may be tried for one claim, by departures."""

    claim: Claim
    usual: Counting
    known: Hypotheses

    @cached_property
    def models(self) -> list[Model]:
        """The stated model, then every model with one departure, then with two, as far as is allowed."""
        upsampler, most = self.claim.row.upsampler, self.known.departures
        full = {**cards.builtin()[upsampler].defaults(), **self.claim.stated}
        single: list[Model] = [Model(variant=name) for name in self.claim.host.variants]
        for setting in self.known.settings:
            if setting.upsampler == upsampler:
                others = [v for v in setting.values if v != full[setting.param]]
                single += [Model(settings=((setting.param, value),)) for value in others]
        single += [Model(version=c.name) for c in self.known.versions if c.applies(upsampler)]
        found = [STATED, *single]
        for n in range(2, most + 1):
            found += [m for parts in combinations(single, n) if (m := _joined(parts)) is not None]
        return found

    @cached_property
    def countings(self) -> list[Counting]:
        """The column's counting, then the others."""
        rules = self.known.conventions.params if self.claim.quantity == "params" else self.known.conventions.flops
        ways = [None, *(w.name for w in self.known.ways if w.applies(self.claim.row.upsampler))]
        ways = list(dict.fromkeys([self.usual.way, *ways]))
        return [Counting(c, w) for w in ways for c in dict.fromkeys([self.usual.convention, *rules])]

    def tries(self, sums: Sums) -> Iterator[Try]:
        """Every explanation that is allowed, with its sum."""
        for model in self.models:
            for counting in self.countings:
                departures = model.departures + counting.departures(self.usual)
                if departures <= self.known.departures:
                    value = sums.value(self.claim, model, counting)
                    if value is not None:
                        yield Try(model, counting, value, departures, counting.convention != self.usual.convention)


def _joined(parts: Sequence[Model]) -> Model | None:
    """Several departures as one model; None where two change the same thing."""
    variants = [p.variant for p in parts if p.variant is not None]
    versions = [p.version for p in parts if p.version is not None]
    settings = [s for p in parts for s in p.settings]
    if len(variants) > 1 or len(versions) > 1 or len({key for key, _ in settings}) < len(settings):
        return None
    return Model(variants[0] if variants else None, tuple(settings), versions[0] if versions else None)
