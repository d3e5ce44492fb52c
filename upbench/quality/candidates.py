"""From upsamplers as they are named to candidates of a study, judged for the place that the host has for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from upbench.cards import Card
from upbench.errors import SpecError, unknown
from upbench.quality.protocol import Candidate, Protocol
from upbench.quality.study import Study
from upbench.specs import run_spec

SCALE = 2
"""Output pixels per input pixel of every place in a host."""
SAMPLING = ("sample_points", "deform_similarity", "deform_assemble", "nearby_similarity")
"""Ops whose fused form takes longer than the eager one in training on maps as small as these."""


def candidate(data: Mapping[str, Any], protocol: Protocol, source: str) -> Candidate:
    """Return the candidate of a spec as written.

    A gate, which adds the guide to the result, is off unless the spec says otherwise: the host adds the guide itself.

    Args:
        data: Upsampler and params; channels, scale and input of a spec are the host's.
        protocol: The protocol.
        source: Where the spec comes from, named in every message.

    Raises:
        SpecError: If there is no such upsampler, or the host has no place for it.
    """
    from upbench import registry
    from upbench.errors import UpbenchError

    name = data.get("upsampler")
    params = dict(data.get("params") or {})
    try:
        card = registry.get(name) if isinstance(name, str) else None
    except UpbenchError:
        card = None  # the sentence about it is that of the spec
    if card is not None:
        if refused := _unfit(card):
            raise SpecError([f"{source}: {name} {refused}"])
        if any(param.name == "gate" for param in card.params):
            params.setdefault("gate", False)
    side = protocol.size // 8
    written = {
        "upsampler": name,
        "params": params,
        "scale": SCALE,
        "input": {"shape": f"{protocol.channels}x{side}x{side}"},
    }
    spec = run_spec.load(written, source)
    backend = "eager" if set(spec.card.fused_ops) & set(SAMPLING) else "auto"
    kind: Literal["feature", "image"] | None = None
    if spec.card.guided:
        kind = "image" if spec.card.guide_kind == "image" else "feature"
    return Candidate(spec.upsampler, dict(spec.params), spec.label, kind, spec.guide_channels, backend)


def study(
    written: Sequence[tuple[str, Mapping[str, Any], str]],
    protocol: Protocol,
    reference: str | None = None,
    again: Sequence[str] = (),
    options: tuple[str, str] = ("reference", "again"),
) -> Study:
    """Return the study of upsamplers as they are written.

    Args:
        written: Of each the name by which it is asked for, its spec as written, and where that comes from; the base first.
        protocol: The protocol.
        reference: The name of the base, where it is not the first.
        again: Names of upsamplers that are run twice a seed, besides the base.
        options: What `reference` and `again` are called where they are given, for messages.

    Raises:
        SpecError: With all mistakes of all upsamplers together.
        UnknownName: If `reference` or `again` names none of them.
    """
    found: dict[str, Candidate] = {}
    mistakes: list[str] = []
    for name, data, source in written:
        try:
            found[name] = candidate(data, protocol, source)
        except SpecError as error:
            mistakes += error.mistakes
    if mistakes:
        raise SpecError(list(dict.fromkeys(mistakes)))
    asked = [(options[1], name) for name in again] + ([(options[0], reference)] if reference is not None else [])
    for option, name in asked:
        if name not in found:
            raise unknown(option, name, found)
    ordered = together(list(found.values()))
    if reference is not None:
        base = found[reference]
        ordered = [base, *(one for one in ordered if one != base)]
    return Study(protocol, tuple(ordered), tuple(found[name] for name in dict.fromkeys(again)))


def together(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates without repetition. Raises SpecError where only one is left: a study compares."""
    found = list({one.key: one for one in candidates}.values())
    if len(found) < 2:
        raise SpecError([f"{found[0].label} alone cannot be judged; name a base and at least one more upsampler"])
    return found


def _unfit(card: Card) -> str | None:
    """Why a host has no place for an upsampler, as a clause; None where it has."""
    if len(card.outputs) > 1:
        return f"returns {len(card.outputs)} maps, and a host of `upbench quality` takes one"
    if len(card.guides) > 1:
        return "takes two guides, and a host of `upbench quality` has one at each place"
    if card.guide_kind == "hidden":
        return "is guided by a state of the size of its input, which a host of `upbench quality` does not have"
    if card.only_scale not in (None, SCALE):
        return f"upsamples {card.only_scale} times, and a host of `upbench quality` upsamples {SCALE} times"
    return None
