"""Candidate explanations of a printed figure, and the sum that each gives over the stages of a host.

Pure: the counts of modules come from a function that is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

from upbench import conventions, registry
from upbench.conventions import Breakdown
from upbench.errors import SpecError
from upbench.papers.hosts import Host, Stage
from upbench.reproduce.arithmetic import evaluate
from upbench.reproduce.claims import Claim, Quantity
from upbench.reproduce.hypotheses import Change, Hypotheses

Counts = Callable[[str, Mapping[str, Any], Stage, Quantity], Breakdown]
"""A function (upsampler, params, stage, quantity) that returns the parts of a count, at least those of the quantity.

It raises SpecError where the upsampler cannot be built.
"""


@dataclass(frozen=True)
class Model:
    """The changes to the stated model: the host variant, settings, the version of the module."""

    variant: str | None = None
    settings: tuple[tuple[str, Any], ...] = ()
    version: str | None = None

    @property
    def departures(self) -> int:
        """Return how many things are changed."""
        return (self.variant is not None) + len(self.settings) + (self.version is not None)


@dataclass(frozen=True)
class Counting:
    """A way to count.

    Args:
        convention: The name of a convention, as F0 or P2, which says what is added up.
        way: The name of a way of counting that differs from ours; None for ours.
    """

    convention: str
    way: str | None = None

    @property
    def quantity(self) -> Quantity:
        """Return what the convention counts; "all" is one of FLOPs here, because P2 is all of the parameters."""
        return "flops" if self.convention in conventions.FLOPS else "params"

    def departures(self, usual: Counting) -> int:
        """Return how many things differ from the way in which the column counts."""
        return (self.convention != usual.convention) + (self.way != usual.way)


STATED = Model()
"""The model as the paper states it."""


@dataclass(frozen=True)
class Candidate:
    """One candidate explanation with its sum.

    Args:
        model: What is changed of the stated model.
        counting: How the sum counts.
        value: The sum.
        departures: The number of things changed of what is stated.
        recounts: Whether it leaves the convention of its column.
    """

    model: Model
    counting: Counting
    value: int
    departures: int
    recounts: bool  # whether it leaves the convention of its column


class Sums:
    """Sums over stages, each computed once.

    Args:
        counts: Counts a module at a stage.
        known: The versions and ways of counting.
    """

    def __init__(self, counts: Counts, known: Hypotheses) -> None:
        self.counts, self.known = counts, known
        self._terms: dict[Any, tuple[tuple[Stage, int], ...] | None] = {}

    def value(self, claim: Claim, model: Model, counting: Counting) -> int | None:
        """Return the sum for a claim under a model and a way of counting.

        Args:
            claim: The printed figure; says the upsampler, its stated settings and the host.
            model: Settings and version that are assumed.
            counting: Way of counting that is assumed.

        Returns:
            The sum; None where the model cannot be built there.
        """
        params = {**claim.stated, **dict(model.settings)}
        terms = self.terms(claim.row.upsampler, params, stages(claim.host, model), model.version, counting)
        return None if terms is None else sum(n for _, n in terms)

    def terms(
        self,
        upsampler: str,
        params: Mapping[str, Any],
        stages: Sequence[Stage],
        version: str | None,
        counting: Counting,
    ) -> tuple[tuple[Stage, int], ...] | None:
        """Return each stage with its count; None where the upsampler cannot be built at one of them.

        Args:
            upsampler: The registered name.
            params: Its parameters.
            stages: The stages.
            version: The name of another version of the module; None for the released one.
            counting: How to count.
        """
        quantity = counting.quantity
        key = (upsampler, tuple(sorted(params.items())), tuple(stages), version, counting)
        if key not in self._terms:
            self._terms[key] = self._sum(upsampler, params, stages, version, counting, quantity)
        return self._terms[key]

    def _sum(
        self,
        upsampler: str,
        params: Mapping[str, Any],
        stages: Sequence[Stage],
        version: str | None,
        counting: Counting,
        quantity: Quantity,
    ) -> tuple[tuple[Stage, int], ...] | None:
        changes = [self.known.change(name) for name in (version, counting.way) if name is not None]
        add = conventions.params if quantity == "params" else conventions.flops
        terms = []
        for stage in stages:
            try:
                parts = self.counts(upsampler, params, stage, quantity)
            except SpecError:
                return None
            for change in changes:
                if change.applies(upsampler):
                    parts = changed(parts, change, stage)
            terms.append((stage, add(parts, counting.convention)))
        return tuple(terms)


def changed(parts: Breakdown, change: Change, stage: Stage) -> Breakdown:
    """Return the parts of a count at a stage under a version or a way of counting.

    Args:
        parts: The parts as they are counted without the change.
        change: Formulas in C, G, s and V that multiply parts or add to them.
        stage: Gives C and G, the channels of input and guide, the scale s, and the number V of values of the result.
    """
    values = stage.batch * stage.channels * stage.out_height * stage.out_width
    names = {"C": stage.channels, "G": stage.guide_channels, "s": stage.scale, "V": values}
    new = {part: getattr(parts, part) * evaluate(text, names) for part, text in change.times.items()}
    for part, text in change.adds.items():
        new[part] = new.get(part, getattr(parts, part)) + evaluate(text, names)
    return replace(parts, **new)


def stages(host: Host, model: Model) -> tuple[Stage, ...]:
    """Return the stages of a host, or of the variant that a model names."""
    return host.stages if model.variant is None else host.variants[model.variant].stages


@dataclass(frozen=True)
class Space:
    """Everything that may be tried for one claim.

    Args:
        claim: The printed figure.
        usual: How its column counts.
        known: What may be tried.
    """

    claim: Claim
    usual: Counting
    known: Hypotheses

    @cached_property
    def models(self) -> list[Model]:
        """Return the stated model, then every model with one departure, then with two, as far as is allowed."""
        upsampler, most = self.claim.row.upsampler, self.known.departures
        full = {**registry.get(upsampler).defaults(), **self.claim.stated}
        single: list[Model] = [Model(variant=name) for name in self.claim.host.variants]
        for setting in self.known.settings:
            if setting.upsampler == upsampler:
                values = [v for v in setting.values if v != full[setting.param]]
                single += [Model(settings=((setting.param, value),)) for value in values]
        single += [Model(version=c.name) for c in self.known.versions if c.applies(upsampler)]
        models = [STATED, *single]
        for n in range(2, most + 1):
            models += [m for parts in combinations(single, n) if (m := _joined(parts)) is not None]
        return models

    @cached_property
    def countings(self) -> list[Counting]:
        """Return the column's counting, then the others."""
        rules = self.known.conventions.params if self.claim.quantity == "params" else self.known.conventions.flops
        ways = [None, *(w.name for w in self.known.ways if w.applies(self.claim.row.upsampler))]
        ways = list(dict.fromkeys([self.usual.way, *ways]))
        return [Counting(c, w) for w in ways for c in dict.fromkeys([self.usual.convention, *rules])]

    def candidates(self, sums: Sums) -> Iterator[Candidate]:
        """Yield every candidate that is allowed, with its sum."""
        for model in self.models:
            for counting in self.countings:
                departures = model.departures + counting.departures(self.usual)
                if departures <= self.known.departures:
                    value = sums.value(self.claim, model, counting)
                    if value is not None:
                        yield Candidate(
                            model, counting, value, departures, counting.convention != self.usual.convention
                        )


def _joined(parts: Sequence[Model]) -> Model | None:
    """Several departures as one model; None where two change the same thing."""
    variants = [p.variant for p in parts if p.variant is not None]
    versions = [p.version for p in parts if p.version is not None]
    settings = [s for p in parts for s in p.settings]
    if len(variants) > 1 or len(versions) > 1 or len({key for key, _ in settings}) < len(settings):
        return None
    return Model(variants[0] if variants else None, tuple(settings), versions[0] if versions else None)
