"""Validates data against pydantic models, and words the mistakes as sentences; for specs, sweeps and papers alike."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from upbench.errors import SpecError, known_names
from upbench.specs.yaml_file import told

T = TypeVar("T")
M = TypeVar("M", bound="Strict")

Many = Annotated[tuple[T, ...], Field(strict=False)]
"""A tuple that YAML gives as a list."""


class Strict(BaseModel):
    """Base of models that are frozen, refuse unknown keys, and convert no type to another."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def load(model: type[M], data: object, source: str) -> M:
    """Validate data.

    Args:
        model: The model.
        data: Data as YAML gives it.
        source: Where it comes from, named in every message.

    Returns:
        An instance of the model.

    Raises:
        SpecError: With a sentence for each mistake.
    """
    if not isinstance(data, Mapping):
        raise SpecError([f"{source}: is {type(data).__name__}, but must be a mapping of keys to values"])
    try:
        return model.model_validate(data)
    except ValidationError as error:
        items = error.errors()
        found = dict.fromkeys(sentence(model, item) for item in items if not _follows(item, items))
        raise SpecError([told(source, sentence) for sentence in found]) from None


def _follows(item: Any, items: Sequence[Any]) -> bool:
    """Return whether an error only repeats others: a list of mistaken items counts as too short."""
    depth = len(item["loc"])
    return item["type"] == "too_short" and any(i["loc"][:depth] == item["loc"] and len(i["loc"]) > depth for i in items)


def sentence(model: type[BaseModel], item: Any, meant: Callable[[FieldInfo, object], str] | None = None) -> str:
    """Return one of pydantic's errors as a sentence.

    Args:
        model: The model that did not validate.
        item: One of `ValidationError.errors()`.
        meant: Guesses what the value of a field should have been, as '; did you mean ...?'.

    Returns:
        The sentence: the key, its value, what is allowed.
    """
    location = _without_tags(model, item["loc"])
    where = _path(location)
    if item["type"] == "value_error":
        text = str(item["ctx"]["error"])
        return f"{where}: {text}" if where else text
    *_, last = location or ("",)
    owner, field = _owner(model, location)
    description = field.description if field is not None else None
    if item["type"] == "extra_forbidden":
        known = list(owner.model_fields)
        return f"{where}: unknown key; {known_names(str(last), known)}"
    wanted = description or item["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    if item["type"] == "missing":
        return f"{where}: is missing; give {wanted}"
    value = yaml.safe_dump(item["input"], default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...")
    guess = meant(field, item["input"]) if meant is not None and field is not None else ""
    return f"{where} is {value if len(value) < 60 else value[:57] + '...'}, but must be {wanted}{guess}"


def _path(location: tuple[int | str, ...]) -> str:
    """Return a location as 'stages[0].channels'."""
    text = ""
    for key in location:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


def _owner(model: type[BaseModel], location: tuple[int | str, ...]) -> tuple[type[BaseModel], FieldInfo | None]:
    """Return the model that the last key of a location belongs to, and its field there."""
    found, inside = None, model
    for depth, key in enumerate(location, 1):
        if isinstance(key, str) and key in inside.model_fields:
            found = inside.model_fields[key]
            deeper = _model_in(found.annotation)
            if deeper is not None and depth < len(location):
                inside, found = deeper, None
    return inside, found


def _without_tags(model: type[BaseModel], location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return a location without the names of types that pydantic adds behind a field of several types."""
    inside = model
    for depth, key in enumerate(location, 1):
        if not isinstance(key, str) or key not in inside.model_fields:
            continue
        annotation = inside.model_fields[key].annotation
        deeper = _model_in(annotation)
        if deeper is not None:
            inside = deeper
        elif not _holds_several(annotation):
            return location[:depth]
    return location


def _holds_several(annotation: Any) -> bool:
    """Return whether values are lists or mappings, whose positions and keys are part of a location."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType, Annotated) else (annotation,)
    return any(get_origin(part) in (tuple, dict, list) or part in (tuple, dict, list) for part in parts)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model in `X`, `X | None`, `tuple[X, ...]` or `dict[str, X]`."""
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (tuple, dict, Union, types.UnionType, Annotated):
        found = (_model_in(part) for part in get_args(annotation))
        return next((model for model in found if model), None)
    return None
