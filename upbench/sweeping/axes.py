"""What an axis is: the key of a spec that it stands for, its value there, and which values have the right form.

A value has the wrong form when no upsampler of the sweep could take it whatever else is set: a text for a number, a
dtype that does not exist. Values that only do not go together are the business of the cards' rules, not of this room.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ValidationError

from upbench import registry
from upbench.cards import Card, Param
from upbench.errors import SpecError, UpbenchError, known_names
from upbench.specs import model_spec, shapes
from upbench.specs import run_spec as spec
from upbench.specs.yaml_file import told

TOP = ("upsampler", "guide_channels", "scale")
SECTIONS: dict[str, type[BaseModel]] = {"input": spec.InputSpec, "measure": spec.MeasureSpec}
INPUT, MEASURE = tuple(spec.InputSpec.model_fields), tuple(spec.MeasureSpec.model_fields)


def place(axis: str) -> tuple[str, str]:
    """Section and key: 'batch' is in input, 'mode' in measure, 'scale' on top (""), other names in params.

    'params.batch' is the parameter of that name.
    """
    head, dot, tail = axis.partition(".")
    if dot and head in ("params", *SECTIONS):
        return head, tail
    for section, names in (("", TOP), ("input", INPUT), ("measure", MEASURE)):
        if axis in names:
            return section, axis
    return "params", axis


def set_value(data: dict[str, Any], axis: str, value: object) -> None:
    """Set the value of an axis in the data of a spec.

    `theta` goes to params, `batch` to input, `mode` to measure, and `scale` to the top.

    Args:
        data: The spec as nested mappings; changed.
        axis: Name of the axis.
        value: Its value.
    """
    section, name = place(axis)
    if section:
        data.setdefault(section, {})[name] = value
    else:
        data[name] = value


def give_way(data: dict[str, Any], given: Mapping[str, object]) -> list[str]:
    """Take the channels out of the data of a spec where a shape that is set over them has others.

    Guide channels that were the same go with them; both follow from the shape then.

    Args:
        data: The spec as nested mappings; changed.
        given: What was set over it, by its key, the shape among it.

    Returns:
        The keys that are taken out.
    """
    try:
        channels = shapes.parse(given["shape"])[0]
    except UpbenchError:  # said where the spec is judged
        return []
    before = data.get("channels")
    if before is None or before == channels:
        return []
    taken = [key for key in ("channels", "guide_channels") if data.get(key) == before and key not in given]
    for key in taken:
        del data[key]
    return taken


def completed(data: Mapping[str, Any], card: Card) -> dict[str, Any]:
    """Return a spec as written, of the right form, with the keys of a complete one; whether it breaks a rule or not.

    Args:
        data: The spec as nested mappings.
        card: The card of its upsampler.
    """
    inputs = spec.InputSpec.model_validate(data.get("input", {}))
    full = {
        "upsampler": card.name,
        "channels": data.get("channels", inputs.shape[0]),
        "guide_channels": data.get(
            "guide_channels", card.default_guide_channels(inputs.shape[0]) if card.guided else None
        ),
        "scale": data.get("scale") or card.default_scale,
        "params": {**card.defaults(), **data.get("params", {})},
        "input": inputs.model_dump(mode="json"),
        "measure": spec.MeasureSpec.model_validate(data.get("measure", {})).model_dump(mode="json"),
    }
    return model_spec.without_map({**full, "model": data["model"]}) if data.get("model") else full


def value(data: Mapping[str, Any], axis: str) -> Any:
    """Return the value of an axis in a complete spec; None where the upsampler has no such key."""
    section, name = place(axis)
    if section in SECTIONS and name not in data[section] and name in SECTIONS[section].model_fields:
        return SECTIONS[section].model_fields[name].default  # which is not written down
    return (data[section] if section else data).get(name)


def cards(names: Iterable[object], source: str) -> tuple[dict[str, Card], list[str]]:
    """Return the cards of upsamplers by name, and a sentence for each that there is none of.

    Args:
        names: Names of upsamplers.
        source: What sentences name as their origin.
    """
    found: dict[str, Card] = {}
    mistakes: list[str] = []
    for name in names:
        if name is None:
            mistakes.append(
                told(source, "base.upsampler: is missing; give the name of an upsampler, or an axis upsampler")
            )
            continue
        if not isinstance(name, str):
            mistakes.append(told(source, f"upsampler is {name!r}, but must be the name of an upsampler"))
            continue
        try:
            found[name] = registry.get(name)
        except UpbenchError as error:
            mistakes.append(told(source, f"upsampler: {error}"))
    return found, mistakes


def applies(axis: str, card: Card) -> bool:
    """Return whether an upsampler has the key of a known axis."""
    section, name = place(axis)
    if section == "params":
        return any(param.name == name for param in card.params)
    return card.guided or name != "guide_channels"


def unknown(axis: str, known_cards: Mapping[str, Card]) -> str | None:
    """Return which axes there are when a name is none of them, or None.

    Args:
        axis: The name.
        known_cards: Cards by name; an axis of params is known when one of these upsamplers has it, or without any.
    """
    section, name = place(axis)
    params = dict.fromkeys(p.name for card in known_cards.values() for p in card.params)
    if section == "" or (section in SECTIONS and name in SECTIONS[section].model_fields):
        return None
    if section == "params" and (name in params or not known_cards):
        return None
    known = [*params, *TOP, *INPUT, *MEASURE]
    return known_names(name, known)


def malformed(axis: str, value: object, known_cards: Mapping[str, Card]) -> str | None:
    """Return why a value of a known axis has the wrong form, or None.

    Args:
        axis: Name of the axis.
        value: The value to judge.
        known_cards: The cards of the sweep's upsamplers by name; a parameter must fit one that has it.

    Returns:
        A sentence for the user; None for a sound value.
    """
    section, name = place(axis)
    if section in SECTIONS:
        return next(iter(malformed_section(section, {name: value})), None)
    if section == "params":
        owners = [p for card in known_cards.values() for p in card.params if p.name == name]
        sentences = [_wrong_kind(param, value) for param in owners]
        return f"params.{sentences[0]}" if sentences and all(sentences) else None
    if name == "guide_channels":
        sound = value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1)
        return None if sound else f"guide_channels is {value!r}, but must be an integer of at least 1"
    return next(iter(malformed_top({name: value})), None) if name == "scale" else None


def malformed_section(section: str, data: Mapping[str, Any]) -> list[str]:
    """Return the mistakes of form in an input or measure mapping."""
    model = SECTIONS[section]
    try:
        model.model_validate(dict(data))
    except ValidationError as error:
        return list(dict.fromkeys(f"{section}.{spec.sentence(model, item)}" for item in error.errors()))
    return []


def malformed_top(data: Mapping[str, Any]) -> list[str]:
    """Return the mistakes of form in the outer keys of a spec, upsampler and guide_channels aside, and input.shape."""
    # An upsampler without params, guide and rules: what is wrong with it is wrong with the keys.
    try:
        spec.load({**data, "upsampler": "nearest"}, "")
    except SpecError as error:
        return [sentence.removeprefix(": ") for sentence in error.mistakes]
    return []


def _wrong_kind(param: Param, value: object) -> str | None:
    """Why a value is of another type than the parameter or not among its choices; its limits are left to the card."""
    return None if replace(param, minimum=None, odd=False).mistake(value) is None else param.mistake(value)


def first_repeated(values: Iterable[object]) -> str | None:
    """Return the text of the first value that stands twice; None where each stands once."""
    seen: set[str] = set()
    for value in values:
        if (text := repr(value)) in seen:
            return text
        seen.add(text)
    return None
