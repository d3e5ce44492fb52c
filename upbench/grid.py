"""A sweep and its cells: pure expansion of a grid in a fixed order."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from upbench import registry, spec
from upbench.errors import SpecError, UpbenchError, suggestion

TOP = ("upsampler", "guide_channels", "scale")
INPUT = tuple(spec.InputSpec.model_fields)
MEASURE = tuple(spec.MeasureSpec.model_fields)


@dataclass(frozen=True)
class Cell:
    """One point of the grid: the values of its axes, and the complete spec."""

    axes: Mapping[str, Any]
    spec: spec.RunSpec

    @property
    def label(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.axes.items())


class SweepSpec(BaseModel):
    """A sweep as written in YAML. grid: axis -> values; an axis is a key of the spec, of input, measure or params."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", description="letters, digits and . _ + - only")
    title: str = Field("", description="text")
    base: dict[str, Any] = Field(description="a mapping with the key upsampler")
    input: dict[str, Any] = Field({}, description="a mapping")
    measure: dict[str, Any] = Field({}, description="a mapping")
    grid: dict[str, list[Any]] = Field(min_length=1, description="a mapping of axis names to lists of values")
    published: str | None = Field(None, description="paper/table of a published table")


def load(data: Mapping[str, Any], source: str) -> SweepSpec:
    """A sweep from a mapping as YAML gives it. Raises SpecError with all mistakes of its outer keys together."""
    try:
        sweep = SweepSpec.model_validate(dict(data))
    except ValidationError as error:
        found = [spec.sentence(SweepSpec, item) for item in error.errors()]
        raise SpecError([f"{source}: {one}" for one in dict.fromkeys(found)]) from None
    mistakes = [f"{source}: grid.{axis} has no values; list at least one" for axis, v in sweep.grid.items() if not v]
    mistakes += [
        f"{source}: base.{key} belongs beside base, not in it" for key in ("input", "measure") if key in sweep.base
    ]
    if mistakes:
        raise SpecError(mistakes)
    return sweep


def read(path: Path) -> SweepSpec:
    """The sweep in a YAML file."""
    data = spec.read_yaml(path)
    if "grid" not in data and "upsampler" in data:
        raise SpecError(
            [f"{path}: is the spec of one run; give it to `upbench profile`, or add base and grid to sweep"]
        )
    return load(data, str(path))


def expand(sweep: SweepSpec, source: str, overrides: Mapping[str, Any] | None = None) -> list[Cell]:
    """Every cell of the grid, the last axis fastest, each judged. Raises SpecError with all mistakes together.

    overrides: values for `set_value` that apply to every cell.
    """
    names = _base_names(sweep)
    known = _axes(names)
    mistakes = [
        f"{source}: grid.{axis}: unknown axis; known: {', '.join(known)}{suggestion(axis, known)}"
        for axis in sweep.grid
        if _strip(axis) not in known and names
    ]
    if mistakes:
        raise SpecError(mistakes)
    cells: list[Cell] = []
    found: dict[str, None] = {}
    for values in itertools.product(*sweep.grid.values()):
        axes = dict(zip(sweep.grid, values, strict=True))
        try:
            cells.append(Cell(axes, spec.load(_cell(sweep, axes, overrides or {}), source)))
        except SpecError as error:
            found.update(dict.fromkeys(error.mistakes))
    if found:
        raise SpecError(list(found))
    return cells


def set_value(data: dict[str, Any], axis: str, value: object) -> None:
    """Put a value where its axis belongs: `theta` in params, `batch` in input, `mode` in measure, `scale` on top."""
    name = _strip(axis)
    forced = axis.split(".")[0] if "." in axis else None
    if forced == "input" or (forced is None and name in INPUT):
        data.setdefault("input", {})[name] = value
    elif forced == "measure" or (forced is None and name in MEASURE):
        data.setdefault("measure", {})[name] = value
    elif forced is None and name in TOP:
        data[name] = value
    else:
        data.setdefault("params", {})[name] = value


def _cell(sweep: SweepSpec, axes: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    data = copy.deepcopy({**sweep.base, "input": sweep.input, "measure": sweep.measure})
    for axis, value in {**axes, **overrides}.items():
        set_value(data, axis, value)
    if "shape" in {*map(_strip, axes), *overrides}:
        # The shape of the cell says how many channels there are; base.channels is that of the base's own shape.
        data.pop("channels", None)
    return data


def _strip(axis: str) -> str:
    return re.sub(r"^(params|input|measure)\.", "", axis)


def _base_names(sweep: SweepSpec) -> list[str]:
    """The upsamplers that the sweep builds, as far as they are known."""
    asked = sweep.grid.get("upsampler", [sweep.base.get("upsampler")])
    return [name for name in asked if isinstance(name, str)]


def _axes(names: list[str]) -> list[str]:
    params: dict[str, None] = {}
    for name in names:
        try:
            params.update(dict.fromkeys(p.name for p in registry.get(name).params))
        except UpbenchError:
            continue
    return [*params, *TOP, *INPUT, *MEASURE]
