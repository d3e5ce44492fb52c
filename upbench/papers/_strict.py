"""Reading data that must be as its model says: every mistake of a file at once, each with its key."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from upbench.errors import SpecError, suggestion
from upbench.yaml_file import told

T = TypeVar("T")
M = TypeVar("M", bound="Strict")

Many = Annotated[tuple[T, ...], Field(strict=False)]
"""A list in YAML."""


class Strict(BaseModel):
    """Frozen, no unknown keys, no conversion of one type to another."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def load(model: type[M], data: object, source: str) -> M:
    """`data`, as YAML gives it, as a `model`. Raises SpecError with a sentence for each mistake."""
    if not isinstance(data, Mapping):
        raise SpecError([f"{source}: is {type(data).__name__}, but must be a mapping of keys to values"])
    try:
        return model.model_validate(data)
    except ValidationError as error:
        items = error.errors()
        found = dict.fromkeys(_sentence(model, item) for item in items if not _follows(item, items))
        raise SpecError([told(source, sentence) for sentence in found]) from None


def _follows(item: Any, items: Sequence[Any]) -> bool:
    """Whether an error only repeats others: a list of mistaken items counts as too short."""
    depth = len(item["loc"])
    return item["type"] == "too_short" and any(i["loc"][:depth] == item["loc"] and len(i["loc"]) > depth for i in items)


def _sentence(model: type[BaseModel], item: Any) -> str:
    """One of pydantic's errors in words: where, what it is, what is allowed."""
    where = _path(item["loc"])
    if item["type"] == "value_error":
        text = str(item["ctx"]["error"])
        return f"{where}: {text}" if where else text
    *_, last = item["loc"] or ("",)
    owner, description = _owner(model, item["loc"])
    if item["type"] == "extra_forbidden":
        known = list(owner.model_fields)
        return f"{where}: unknown key; known: {', '.join(known)}{suggestion(str(last), known)}"
    wanted = description or item["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    if item["type"] == "missing":
        return f"{where}: is missing; give {wanted}"
    value = yaml.safe_dump(item["input"], default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...")
    return f"{where} is {value if len(value) < 60 else value[:57] + '...'}, but must be {wanted}"


def _path(location: tuple[int | str, ...]) -> str:
    """'stages[0].channels'."""
    text = ""
    for key in location:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


def _owner(model: type[BaseModel], location: tuple[int | str, ...]) -> tuple[type[BaseModel], str | None]:
    """The model that the last key of a location belongs to, and what that key may be."""
    description, inside = None, model
    keys = list(location)
    for place, key in enumerate(keys):
        if isinstance(key, str) and key in inside.model_fields:
            field = inside.model_fields[key]
            description = field.description
            deeper = _model_in(field.annotation)
            if deeper is not None and place + 1 < len(keys):
                inside, description = deeper, None
    return inside, description


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in `X`, `X | None`, `tuple[X, ...]` or `dict[str, X]`."""
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (tuple, dict, Union, types.UnionType, Annotated):
        found = (_model_in(part) for part in get_args(annotation))
        return next((model for model in found if model), None)
    return None
