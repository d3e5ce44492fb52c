"""Specs say what is built and how it is measured. They are frozen, strict, and validated once, all mistakes together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
)

from upbench import backends, registry, runtimes
from upbench.cards import Card, Setting
from upbench.errors import SpecError, UnknownName, UpbenchError
from upbench.specs import hints, model_spec, shapes, sizes, strict, yaml_file
from upbench.specs.model_spec import ModelSpec as ModelSpec
from upbench.specs.sections import DTYPES as DTYPES
from upbench.specs.sections import MODES as MODES
from upbench.specs.sections import InputSpec as InputSpec
from upbench.specs.sections import MeasureSpec as MeasureSpec
from upbench.specs.strict import Strict
from upbench.specs.yaml_file import told


def _whole(value: object) -> object:
    """2.0 is the scale 2."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _section(value: object) -> object:
    """A key with nothing under it is an empty mapping."""
    return {} if value is None else value


class RunSpec(Strict):
    """One upsampler on one input, measured one way, with every value filled in. `load` makes it.

    Attributes:
        upsampler: Name of the upsampler, or package.module:Class.
        channels: Channels of the low-resolution feature.
        guide_channels: Channels of the guide; None for an upsampler without a guide.
        scale: Scale.
        params: Name -> value of every param of the upsampler.
        input: The input.
        measure: How it is measured.
        model: The model that it stands in; None for one map, which channels, scale and input.shape describe.
    """

    upsampler: str
    channels: int
    guide_channels: int | None
    scale: int | float
    params: Mapping[str, Any]
    input: InputSpec
    measure: MeasureSpec
    model: ModelSpec | None = None

    @property
    def card(self) -> Card:
        """The card of the upsampler."""
        return registry.get(self.upsampler)

    @property
    def setting(self) -> Setting:
        """The concrete configuration (channels, scale, params, input sizes) that rules and closed forms are evaluated on."""
        given = self.input
        _, height, width = given.shape
        guide = self.guide_channels or self.channels
        sizes = (height, width, given.output_size, given.guide_size)
        return Setting(self.channels, guide, self.scale, self.params, given.batch, *sizes)

    @property
    def label(self) -> str:
        """The name, with the params that are not the defaults, a chosen backend and a chosen runtime: 'ldaaqu (theta=5) [fused]'."""
        defaults = self.card.defaults()
        changed = [f"{k}={_yaml_value(v)}" for k, v in self.params.items() if defaults.get(k) != v]
        name = f"{self.upsampler} ({', '.join(changed)})" if changed else self.upsampler
        marks = [*([self.measure.backend] if self.measure.backend != "auto" else []), self.measure.runtime]
        return " ".join([name, *(f"[{mark}]" for mark in marks if mark)])

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as it is written in YAML; `load` reads it."""
        data = self.model_dump(mode="json")
        if self.model is not None:
            return model_spec.without_map(data)
        del data["model"]  # as specs and records were written before there was one
        return data

    def sources(self) -> dict[str, str] | None:
        """Return the hashes of the user's code that is measured; None where all of it is upbench's or a library's."""
        own = registry.sources(self.upsampler)
        code = self.model.sources() if self.model else {}
        return {**(own or {}), **code} if code else own


class _Draft(Strict):
    """A spec as written, before the card's defaults are filled in."""

    upsampler: str = Field(description="the name of an upsampler")
    channels: int | None = Field(None, ge=1, description="an integer of at least 1")
    guide_channels: int | None = Field(None, ge=1, description="an integer of at least 1")
    scale: Annotated[int | float | None, BeforeValidator(_whole)] = Field(
        None, ge=1, description="a number of at least 1"
    )
    params: Annotated[dict[str, Any], BeforeValidator(_section)] = Field(
        {}, description="a mapping of parameter names to values"
    )
    input: Annotated[InputSpec, BeforeValidator(_section)] = Field(InputSpec(), description="a mapping")
    measure: Annotated[MeasureSpec, BeforeValidator(_section)] = Field(MeasureSpec(), description="a mapping")
    model: ModelSpec | None = Field(None, description="a mapping, as {name: transformers/segformer-b1, input: 512x512}")


def load(data: object, source: str = "spec") -> RunSpec:
    """Make a complete spec from a mapping, as YAML gives it.

    Args:
        data: The mapping; keys that are left out have their defaults.
        source: Where it comes from, named in every message.

    Raises:
        SpecError: With all mistakes together.
    """
    if not isinstance(data, Mapping):
        raise SpecError([f"{source}: is {type(data).__name__}, but a spec is a mapping with the key 'upsampler'"])
    draft, found = _draft(data)
    in_model = data.get("model") is not None
    if in_model:
        found += model_spec.misplaced(data)
    card = None
    if isinstance(name := data.get("upsampler"), str):
        try:
            card = registry.get(name)
        except UnknownName as error:
            found.append(f"upsampler: {error}")
        except UpbenchError as error:
            found.append(str(error))
    setting = None
    if card is not None and draft is not None:
        written = data["input"].get("shape") if isinstance(data.get("input"), Mapping) else None
        named = shapes.NAMED.get(written) if isinstance(written, str) else None
        setting, more = _judge(card, draft, named, in_model)
        found += more
    if found or setting is None or draft is None:
        raise SpecError([told(source, sentence) for sentence in found])
    return RunSpec(
        upsampler=draft.upsampler,
        channels=setting.channels,
        guide_channels=setting.guide_channels if card is not None and card.guided else None,
        scale=setting.scale,
        params=dict(setting.params),
        input=draft.input.model_copy(update={"output_size": setting.output, "guide_size": setting.image}),
        measure=draft.measure,
        model=draft.model,
    )


def _draft(data: Mapping[Any, Any]) -> tuple[_Draft | None, list[str]]:
    """Return the draft with invalid keys left out (None when nothing is left without them), and the mistakes."""
    clean: dict[str, Any] = {str(k): dict(v) if isinstance(v, Mapping) else v for k, v in data.items()}
    try:
        return _Draft.model_validate(clean), []
    except ValidationError as error:
        found = list(dict.fromkeys(sentence(_Draft, item) for item in error.errors()))
        for item in error.errors():
            _drop(clean, item["loc"])
    try:
        return _Draft.model_validate(clean), found
    except ValidationError:
        return None, found


def _drop(data: dict[str, Any], location: tuple[int | str, ...]) -> None:
    """Take the key at `location` out of a nested mapping."""
    *path, last = [key for key in location[:2] if isinstance(key, str)]
    for key in path:
        if not isinstance(data.get(key), dict):
            last = key
            break
        if last in data[key] or key not in ("input", "measure"):
            data = data[key]
    data.pop(str(last), None)


def sentence(model: type[BaseModel], item: Any) -> str:
    """Return one of pydantic's errors as a sentence: the key, its value, what is allowed, and the likely intention.

    Args:
        model: The model that did not validate.
        item: One of `ValidationError.errors()`.
    """
    return strict.sentence(model, item, hints.hint)


def _judge(
    card: Card, draft: _Draft, named: shapes.NamedShape | None, in_model: bool = False
) -> tuple[Setting, list[str]]:
    """Return the setting of a draft, and the mistakes that the card finds in it.

    Args:
        card: The card of the upsampler.
        draft: The draft.
        named: The named shape that it gives, whose sizes are defaults.
        in_model: Whether it stands in a model, whose maps show only then which values go together.
    """
    found = []
    channels = draft.input.shape[0]
    if draft.channels is not None and "shape" in draft.input.model_fields_set and draft.channels != channels:
        found.append(
            f"channels is {draft.channels}, but input.shape {shapes.text(draft.input.shape)} has {channels}; "
            f"make them equal or leave channels out"
        )
    elif draft.channels is not None and draft.channels != channels:
        found.append(
            f"channels is {draft.channels}, but no input.shape is given and the default has {channels}; give input.shape"
        )
    if draft.guide_channels is not None and not card.guided:
        found.append(f"guide_channels is given, but {card.name} takes no guide; leave it out")
    if mistake := backends.mistake(draft.measure.backend, card.name, card.fused_ops):
        found.append(f"measure.backend {mistake}")
    if mistake := runtimes.mistake(draft.measure.runtime, draft.measure.compile):
        found.append(f"measure.runtime {mistake}")
    guide_channels = draft.guide_channels
    if guide_channels is None and named is not None and card.guide_kind == "hidden":
        guide_channels = named.guide_channels
    _, height, width = draft.input.shape
    scale, output = sizes.scale_and_output(card, height, draft.scale, draft.input.output_size, named)
    setting = registry.setting_of(card, channels, guide_channels, scale, draft.params)
    setting = replace(setting, batch=draft.input.batch, height=height, width=width)
    setting = sizes.settled(card, setting, output, draft.input.guide_size, named)
    own = card.param_mistakes(setting.params) if in_model else card.mistakes(setting)
    if mistakes := found + own:
        return setting, mistakes
    return setting, [] if in_model else card.size_mistakes(setting)


def _yaml_value(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...")


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Args:
        path: Path of the file.

    Raises:
        SpecError: If the file cannot be read, see `yaml_file.read`.
    """
    return yaml_file.read(path)[0]


def default(name: str) -> RunSpec:
    """Return the complete default spec of an upsampler.

    Args:
        name: Name of the upsampler, or package.module:Class.

    Raises:
        SpecError: If there is no such upsampler.
    """
    return load({"upsampler": name}, name)
