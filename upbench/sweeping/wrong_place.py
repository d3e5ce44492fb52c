"""What is said of keys, values and cells of a sweep that stand in the wrong place or form, or twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from upbench.sweeping import axes


def misplaced(item: Any) -> str | None:
    """Return where a key of a spec belongs that stands at the top of a sweep, out of one of pydantic's errors; else None."""
    if item["type"] != "extra_forbidden" or len(item["loc"]) != 1:
        return None
    key = str(item["loc"][0])
    section = "base" if key in ("channels", "params") else axes.place(key)[0] or "base"
    if section == "params" or "." in key:
        return None
    value = _flow(item["input"])
    example = f", as {section}: {{{key}: {value}}}" if len(value) < 60 else ""
    return f"{key} stands at the top of the sweep; put it under `{section}:`{example}"


def unlisted(item: Any) -> str | None:
    """Return how one value of an axis is written as a list, out of one of pydantic's errors; None for another error."""
    if item["type"] != "list_type" or len(item["loc"]) != 2 or isinstance(item["input"], dict):
        return None
    form, axis = item["loc"]
    value = _flow(item["input"])
    return f"{form}.{axis} is {value}, but must be a list of values; write [{value}]"


def repeated(cells: Sequence[Mapping[str, Any]]) -> str | None:
    """Return which of the cells that are listed one by one is another one again; None where none is."""
    first: dict[str, int] = {}
    for n, one in enumerate(cells):
        if (before := first.setdefault(repr(sorted(one.items())), n)) != n:
            return f"cells[{n}] is {_flow(dict(one))}, as cells[{before}] is; leave one out"
    return None


def repeated_together(zipped: Mapping[str, Sequence[Any]]) -> str | None:
    """Return which values that are taken side by side are the same again; None where none are."""
    first: dict[str, int] = {}
    for n, values in enumerate(zip(*zipped.values(), strict=False)):
        if (before := first.setdefault(repr(values), n)) != n:
            one = _flow(dict(zip(zipped, values, strict=True)))
            return f"zip sets {one} twice, by the values at places {before + 1} and {n + 1}; leave one of them out"
    return None


def _flow(value: object) -> str:
    """A value as YAML in one line."""
    text = str(yaml.safe_dump(value, default_flow_style=True, width=1000))
    return text.removesuffix("\n").removesuffix("\n...")
